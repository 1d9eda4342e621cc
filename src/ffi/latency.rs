//! Latency histograms.

use crate::engine::latency::Summary;
use crate::ffi::{aio_ctx, arguments, guard};
use crate::op;
use crate::sys::errno::Errno;
use std::ffi::{c_char, c_double};

/// For aio_ctx_histogram: what was read is forgotten, so that the next call tells of what comes
/// between the two.
pub const AIO_HISTOGRAM_RESET: u32 = 1;

/// The latencies of the operations of one opcode.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_histogram {
    /// sizeof(aio_histogram)
    pub size: u32,
    /// The number that was asked for
    pub opcode: u32,
    /// Latencies that were taken down
    pub count: u64,
    /// Nanoseconds, like the next three; 0 where `count` is
    pub min_ns: u64,
    pub max_ns: u64,
    pub mean_ns: u64,
    /// The standard deviation
    pub deviation_ns: u64,
    /// As in aio_ctx_dump and aio_probe_result
    pub name: [c_char; 32],
}

/// How long the operations of an opcode take, in a context with AIO_CTX_HISTOGRAMS: from the submit
/// call to the first callback, also where that does not run (AIO_SUBMIT_QUIET, aio_ctx_detach).
///
/// Of a multishot operation, an interval and a zero-copy send the first result counts, the later
/// ones do not. Failures and deadlines count, what ended with -ECANCELED does not: how long that
/// took, whoever cancelled it has decided. So `count` is `completed` less `cancelled` of
/// aio_ctx_operation_stats where each operation has one callback. A latency is told to one part in
/// 128; from a day on it is a day.
/// `opcode`: as for aio_ctx_operation_stats. `flags`: 0 or AIO_HISTOGRAM_RESET. `quantiles`:
/// `count` numbers from 0 to 1 in any order, 0.99 for what one in a hundred exceeds; NULL is
/// allowed with a `count` of 0. `values_ns`: receives as many latencies. `out`: its `size` set by
/// the caller; as much is written.
/// Context thread, also inside callbacks; on other threads have it posted. An opcode takes 41 KiB
/// from its first submit on, all of them together 10.3 MiB; no completion allocates.
/// Errors: -EOPNOTSUPP, the context was made without AIO_CTX_HISTOGRAMS; -ENOENT, `opcode` is above
/// 255; -EINVAL, a quantile that is none, unknown flags, NULL, a size below 4: then nothing is
/// forgotten; AIO_EWRONGTHREAD; AIO_ECLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_histogram(
    ctx: *mut aio_ctx, opcode: u32, flags: u32, quantiles: *const c_double, count: u32,
    values_ns: *mut u64, out: *mut aio_histogram,
) -> i32 {
    guard!(ctx, handle => {
        let engine = handle.inspect()?;
        if !handle.keeps_latencies {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let number = u8::try_from(opcode).map_err(|_| Errno::ENOENT)?;
        let wanted = if count == 0 {
            &[]
        } else {
            arguments::output(values_ns)?;
            // SAFETY: the caller's numbers, or NULL.
            unsafe { arguments::array(quantiles, count as usize) }?
        };
        let are_quantiles = wanted.iter().all(|quantile| (0.0..=1.0).contains(quantile));
        if flags & !AIO_HISTOGRAM_RESET != 0 || !are_quantiles {
            return Err(Errno::EINVAL.into());
        }
        let latencies = engine.and_then(|engine| engine.latencies());
        let summary = latencies.as_ref().map_or(Summary::default(), |kept| kept.summary(number));
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, histogram(number, summary)) }?;
        for (at, &quantile) in wanted.iter().enumerate() {
            let ns = latencies.as_ref().map_or(0, |kept| kept.quantile_ns(number, quantile));
            // SAFETY: the caller's array has room for as many as were asked for.
            unsafe { values_ns.add(at).write(ns) };
        }
        if let Some(latencies) = latencies
            && flags & AIO_HISTOGRAM_RESET != 0
        {
            latencies.reset(number);
        }
        Ok(0)
    })
}

fn histogram(opcode: u8, summary: Summary) -> aio_histogram {
    aio_histogram {
        size: 0,
        opcode: opcode.into(),
        count: summary.count,
        min_ns: summary.min_ns,
        max_ns: summary.max_ns,
        mean_ns: summary.mean_ns,
        deviation_ns: summary.deviation_ns,
        name: arguments::text(op::name(opcode)),
    }
}
