//! Compose files as people write them, to their golden models.
