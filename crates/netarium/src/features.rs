//! stub
use crate::folder::DataFolder;
use netarium_core::feature::{Feature, Features};
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct FeaturesError;
pub(crate) async fn features(_: &DataFolder) -> Result<Features, FeaturesError> {
    Ok([Feature::Macvlan, Feature::Bridge, Feature::Veth, Feature::Ifb, Feature::Tun, Feature::Ipv6].into_iter().collect())
}
