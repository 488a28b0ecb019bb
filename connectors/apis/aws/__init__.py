"""Amazon Web Services: operations by botocore's models, bodies in `aws-chunked`, refusals that botocore understands."""
