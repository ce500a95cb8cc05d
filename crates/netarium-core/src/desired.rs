//! From the model to the objects that it needs.
