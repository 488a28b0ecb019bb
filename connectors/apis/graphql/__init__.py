"""GraphQL APIs: which operation of the schema a document runs, and with what arguments."""
