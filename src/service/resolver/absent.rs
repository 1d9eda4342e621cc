//! In the place of the resolver in a library that was built without it.

use crate::engine::external::Payload;
use crate::engine::handle::Handle;
use crate::engine::{Done, Refusal, SubmitOptions};
use crate::service::resolver::data::{Answer, Options, Question};
use crate::sys::errno::Errno;
use std::sync::Arc;

/// There is none.
pub(crate) enum Resolver {}

impl Resolver {
    pub(crate) fn create(_: Options) -> Result<Resolver, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    pub(crate) fn forget(&self) {
        match *self {}
    }
}

pub(crate) fn submit<W>(
    _: &Handle, resolver: Arc<Resolver>, _: Question, _: W, _: &SubmitOptions, _: Done,
) -> Result<u64, Refusal>
where
    W: FnOnce(Answer) -> Box<dyn Payload> + 'static,
{
    match *resolver {}
}
