//! strongSwan's configuration of a tunnel.
