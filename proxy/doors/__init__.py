"""The three listeners: agents, approvers, operators."""
