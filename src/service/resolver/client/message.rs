//! Questions and answers as they travel. Hides the codec (the crate `domain`) and what an answer
//! must be to be believed: one to this question, by its number, name and kind.

use crate::service::resolver::data::Kind;
use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, ParsedRecord, Record as Parsed, ToName};
use domain::rdata::{A, Aaaa, Cname, Soa, Srv, Txt};
use octseq::Array;
use std::net::IpAddr;

/// A whole name, without compression.
pub(crate) type FullName = domain::base::Name<Vec<u8>>;

/// The longest query: a name, its head, its kind and what EDNS adds.
const QUERY_MAX: usize = 512;
/// Records that are looked at, of answers that have more than anybody needs.
const RECORDS_MAX: usize = 1024;
const ALIASES_MAX: usize = 16;
/// No record is good for longer (RFC 2181: what is more means nothing).
const TTL_MAX: u32 = i32::MAX as u32;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Seconds.
    pub ttl: u32,
    pub data: Data,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Data {
    Address(IpAddr),
    Service { priority: u16, weight: u16, port: u16, target: FullName },
    Text(Vec<Vec<u8>>),
}

/// What was asked, with the number under which.
pub(crate) struct Question<'a> {
    pub id: u16,
    pub name: &'a FullName,
    pub kind: Kind,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// It is no answer to this question.
    Foreign,
    /// It is, and makes no sense.
    Malformed,
    /// The whole answer did not fit.
    Truncated,
    /// The server does not understand the question.
    NotUnderstood,
    /// The server has failed, this time.
    Failed,
    /// The server does not want to.
    Refused,
    /// Not one record is not an answer; `name` is the one behind all aliases.
    Records { name: FullName, records: Vec<Record> },
    /// The name is another one's alias, of which the message says nothing.
    Alias { name: FullName, ttl: u32 },
    /// The name has no such record. How long that can be relied on is in seconds; 0: not at all.
    NoData { ttl: u32 },
    /// There is no such name.
    NoName { ttl: u32 },
}

impl Question<'_> {
    /// The question as a message. `datagram_max` is told the server; None: nothing is told.
    pub(crate) fn write(&self, datagram_max: Option<u16>) -> Vec<u8> {
        let target = Array::<QUERY_MAX>::new();
        let builder = MessageBuilder::from_target(target).expect("room for a head");
        let mut question = builder.question();
        question.header_mut().set_id(self.id);
        question.header_mut().set_rd(true);
        question.push((self.name, rtype(self.kind))).expect("room for a name");
        let mut additional = question.additional();
        if let Some(size) = datagram_max {
            let told = additional.opt(|opt| {
                opt.set_udp_payload_size(size);
                Ok(())
            });
            told.expect("room for the option");
        }
        additional.finish().as_ref().to_vec()
    }

    /// Judges a message from a server that was asked.
    pub(crate) fn read(&self, message: &[u8]) -> Reading {
        let Ok(message) = Message::from_octets(message) else { return Reading::Foreign };
        let header = message.header();
        if !header.qr() || header.id() != self.id || header.opcode() != Opcode::QUERY {
            return Reading::Foreign;
        }
        // Whoever does not understand a question need not repeat it.
        let questions = message.header_counts().qdcount();
        if questions != 0 && !self.is_repeated(&message) {
            return Reading::Foreign;
        }
        match header.rcode() {
            Rcode::FORMERR | Rcode::NOTIMP => return Reading::NotUnderstood,
            Rcode::SERVFAIL => return Reading::Failed,
            Rcode::REFUSED => return Reading::Refused,
            _ if questions == 0 => return Reading::Foreign,
            _ if header.tc() => return Reading::Truncated,
            Rcode::NXDOMAIN => return Reading::NoName { ttl: negative_ttl(&message) },
            Rcode::NOERROR => {}
            _ => return Reading::Failed,
        }
        self.read_records(&message).unwrap_or(Reading::Malformed)
    }

    fn is_repeated(&self, message: &Message<&[u8]>) -> bool {
        message.sole_question().is_ok_and(|question| {
            question.qname().name_eq(self.name)
                && question.qtype() == rtype(self.kind)
                && question.qclass() == Class::IN
        })
    }

    /// Follows the aliases from the name that was asked for to the records. None: malformed.
    fn read_records(&self, message: &Message<&[u8]>) -> Option<Reading> {
        let mut records: Vec<(FullName, Record)> = Vec::new();
        let mut aliases: Vec<(FullName, FullName, u32)> = Vec::new();
        for record in message.answer().ok()?.take(RECORDS_MAX) {
            let record = record.ok()?;
            if record.class() != Class::IN {
                continue;
            }
            let ttl = valid_ttl(record.ttl().as_secs());
            if record.rtype() == Rtype::CNAME {
                let alias = record.to_record::<Cname<_>>().ok()??;
                let owner = record.owner().try_to_name().ok()?;
                aliases.push((owner, alias.data().cname().try_to_name().ok()?, ttl));
            } else if record.rtype() == rtype(self.kind) {
                let owner = record.owner().try_to_name().ok()?;
                records.push((owner, Record { ttl, data: self.read_data(&record)? }));
            }
        }
        let (mut name, mut ttl, mut followed) = (self.name, TTL_MAX, 0);
        while let Some((_, target, its_ttl)) = aliases.iter().find(|(owner, ..)| owner == name) {
            followed += 1;
            if followed > ALIASES_MAX {
                return None;
            }
            (name, ttl) = (target, ttl.min(*its_ttl));
        }
        // What an alias leads to is good for as long as the alias is.
        let own = records.into_iter().filter(|(owner, _)| owner == name);
        let records: Vec<Record> =
            own.map(|(_, record)| Record { ttl: ttl.min(record.ttl), ..record }).collect();
        let name = name.clone();
        if !records.is_empty() {
            return Some(Reading::Records { name, records });
        }
        Some(match soa_ttl(message) {
            None if followed != 0 => Reading::Alias { name, ttl },
            negative => Reading::NoData { ttl: ttl.min(negative.unwrap_or(0)) },
        })
    }

    /// The data of a record of the kind that was asked for. None: malformed.
    fn read_data(&self, record: &ParsedRecord<'_, &[u8]>) -> Option<Data> {
        Some(match self.kind {
            Kind::A => {
                let record: Parsed<_, A> = record.to_record().ok()??;
                Data::Address(IpAddr::V4(record.data().addr()))
            }
            Kind::Aaaa => {
                let record: Parsed<_, Aaaa> = record.to_record().ok()??;
                Data::Address(IpAddr::V6(record.data().addr()))
            }
            Kind::Srv => {
                let record: Parsed<_, Srv<_>> = record.to_record().ok()??;
                let service = record.data();
                Data::Service {
                    priority: service.priority(),
                    weight: service.weight(),
                    port: service.port(),
                    target: service.target().try_to_name().ok()?,
                }
            }
            Kind::Txt => {
                let record: Parsed<_, Txt<_>> = record.to_record().ok()??;
                Data::Text(record.data().iter().map(<[u8]>::to_vec).collect())
            }
        })
    }
}

fn rtype(kind: Kind) -> Rtype {
    match kind {
        Kind::A => Rtype::A,
        Kind::Txt => Rtype::TXT,
        Kind::Aaaa => Rtype::AAAA,
        Kind::Srv => Rtype::SRV,
    }
}

fn valid_ttl(seconds: u32) -> u32 {
    if seconds > TTL_MAX { 0 } else { seconds }
}

fn negative_ttl(message: &Message<&[u8]>) -> u32 {
    soa_ttl(message).unwrap_or(0)
}

/// How long the absence of something may be relied on (RFC 2308): who is responsible for the zone
/// says so. None: nobody says anything.
fn soa_ttl(message: &Message<&[u8]>) -> Option<u32> {
    let authority = message.authority().ok()?;
    authority.take(RECORDS_MAX).map_while(Result::ok).find_map(|record| {
        let soa: Parsed<_, Soa<_>> = record.to_record().ok()??;
        Some(valid_ttl(soa.ttl().as_secs().min(soa.data().minimum().as_secs())))
    })
}
