//! stub
use super::Context;
use crate::args::Check;
use crate::ending::Ending;
pub(crate) async fn check(_context: &Context, _arguments: Check) -> anyhow::Result<Ending> {
    anyhow::bail!("not yet")
}
