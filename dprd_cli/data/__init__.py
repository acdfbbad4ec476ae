"""Images with annotations: reading, checking, generating, augmenting and batching them."""
