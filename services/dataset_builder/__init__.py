"""dataset-builder: reviewers' verdicts become immutable, content-addressed dataset versions. Run
`python -m services.dataset_builder`.
"""
