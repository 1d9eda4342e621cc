//! What a context does with its mail: posted functions, the ends of external operations, and
//! whatever else other threads have to say to operations. In a plain turn posted functions are
//! called without leaving the plain path; everything else in the mail is for the careful one.

use crate::engine::Engine;
use crate::engine::cancel::WAKE;
use crate::engine::completion::Current;
use crate::engine::mailbox::{Mailbox, Message, Posted};
use crate::engine::stats::Stats;
use crate::engine::turn::Call;

impl Engine {
    #[inline(always)]
    pub(super) fn take_mail(&mut self, mailbox: &Mailbox) {
        if self.inbox.is_empty() {
            self.inbox = mailbox.take();
        }
    }

    /// In a plain turn, where a completion is no plain one: if it tells of mail, takes both.
    #[inline(always)]
    pub(super) fn take_plain_mail(&mut self, mailbox: &Mailbox) -> bool {
        if !self.can_peek() {
            return false;
        }
        let cqe = self.backend.peek();
        let tells = cqe.user_data == WAKE && cqe.goes_on();
        if tells {
            self.backend.advance();
            self.tally.wakes();
            self.take_mail(mailbox);
        }
        tells
    }

    /// The next posted function of a plain turn, once its completions are delivered.
    #[inline(always)]
    pub(super) fn next_plain_post(&mut self, mailbox: &Mailbox) -> Option<Posted> {
        if !self.is_plainly_exhausted() || self.budget.posts == 0 {
            return None;
        }
        let posted = mailbox.next_posted(&mut self.inbox)?;
        self.budget.posts -= 1;
        self.tally.posts();
        self.count_call();
        self.current = Current::NONE;
        Some(posted)
    }

    /// Whether nothing of a plain turn's mail is left, so that the turn stays a plain one.
    #[inline(always)]
    pub(super) fn ends_plain_mail(&mut self, stats: &Stats) -> bool {
        stats.publish_mail(&self.tally);
        let ends = self.is_plainly_exhausted() && self.inbox.is_empty();
        if ends {
            self.set_plain_budget();
        }
        ends
    }

    /// The next user function that the mail asks for.
    pub(super) fn next_mail_call(&mut self) -> Option<Call> {
        while self.budget.posts != 0 {
            self.budget.posts -= 1;
            let message = self.inbox.next()?;
            match message {
                Message::Run(posted) if !self.mute => {
                    self.tally.posts();
                    self.current = Current::NONE;
                    return Some(Call::Post(posted));
                }
                Message::Run(_) => {}
                Message::Cancel(id) => {
                    let _ = self.cancel(id);
                }
                Message::End(end) => {
                    let delivery = self.take_end(*end);
                    match delivery.and_then(|delivery| self.deliver(delivery)) {
                        Some(Call::Callback(plain)) => return Some(Call::Brought(plain)),
                        Some(call) => {
                            self.drop_payload();
                            return Some(call);
                        }
                        None => {}
                    }
                }
                Message::Rung(id) => {
                    if let Some(delivery) = self.rung(id)
                        && let Some(call) = self.deliver(delivery)
                    {
                        return Some(call);
                    }
                }
                Message::Asks(id) => {
                    if let Some(call) = self.ask(id) {
                        return Some(call);
                    }
                }
                Message::Refill(group) => self.refill(group),
                Message::Letter(_) | Message::Parcel(_) | Message::Answer(_) | Message::Kept(_) => {
                    if let Some(delivery) = self.take_message(message)
                        && let Some(call) = self.deliver(delivery)
                    {
                        return Some(call);
                    }
                }
                Message::LowWater(group) => {
                    if let Some((function, arg)) = self.low_water(group)
                        && !self.mute
                    {
                        self.current = Current::NONE;
                        return Some(Call::Post(Posted(function, arg)));
                    }
                }
            }
        }
        None
    }
}
