//! Lookups against servers that are functions: what is asked, what is believed, what comes of it.

use super::cache::Cache;
use super::config::Settings;
use super::exchange::{Failure, Request};
use super::lookup::{Found, Lookup, Missing, Progress};
use super::message::{Data, FullName};
use crate::service::resolver::data::{Kind, Want, servers};
use crate::sys::errno::Errno;
use crate::sys::sync::Mutex;
use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message_builder::AnswerBuilder;
use domain::base::{Message, MessageBuilder, Serial, Ttl};
use domain::rdata::{A, Aaaa, Cname, Soa, Srv, Txt};
use octseq::Array;
use std::str::FromStr;
use std::sync::Arc;

const THREE_SERVERS: &str = "192.0.2.1 192.0.2.2 192.0.2.3";

type Answers = AnswerBuilder<Array<8192>>;

fn name(text: &str) -> FullName {
    FullName::from_str(text).unwrap()
}

/// What a message asks for.
fn asked(message: &[u8]) -> (String, Rtype) {
    let question = Message::from_octets(message).unwrap().sole_question().unwrap();
    (question.qname().to_string(), question.qtype())
}

/// An answer to a message, its records made by `fill`.
fn reply(query: &[u8], rcode: Rcode, fill: impl FnOnce(&mut Answers)) -> Vec<u8> {
    let query = Message::from_octets(query).unwrap();
    let builder = MessageBuilder::from_target(Array::<8192>::new()).unwrap();
    let mut answers = builder.start_answer(&query, rcode).unwrap();
    fill(&mut answers);
    answers.finish().as_ref().to_vec()
}

fn a(owner: &str, ttl: u32, address: &str) -> (FullName, Class, Ttl, A) {
    (name(owner), Class::IN, Ttl::from_secs(ttl), A::from_str(address).unwrap())
}

fn aaaa(owner: &str, ttl: u32, address: &str) -> (FullName, Class, Ttl, Aaaa) {
    (name(owner), Class::IN, Ttl::from_secs(ttl), Aaaa::from_str(address).unwrap())
}

fn alias(owner: &str, ttl: u32, target: &str) -> (FullName, Class, Ttl, Cname<FullName>) {
    (name(owner), Class::IN, Ttl::from_secs(ttl), Cname::new(name(target)))
}

/// An answer without records, which a zone vouches for.
fn nothing(query: &[u8], rcode: Rcode, ttl: u32) -> Vec<u8> {
    let query = Message::from_octets(query).unwrap();
    let builder = MessageBuilder::from_target(Array::<8192>::new()).unwrap();
    let mut authority = builder.start_answer(&query, rcode).unwrap().authority();
    let time = Ttl::from_secs;
    let zone = (name("ns.example"), name("admin.example"));
    let soa = Soa::new(zone.0, zone.1, Serial(1), time(1), time(1), time(1), time(ttl));
    authority.push((name("example"), Class::IN, time(3600), soa)).unwrap();
    authority.finish().as_ref().to_vec()
}

struct World {
    settings: Arc<Settings>,
    cache: Arc<Mutex<Cache>>,
}

impl World {
    fn new(conf: &str, cache_entries: u32) -> World {
        let mut settings = Settings::parse(conf.as_bytes());
        settings.datagram_max = 1232;
        settings.servers = servers(THREE_SERVERS).unwrap();
        let cache = Arc::new(Mutex::new(Cache::new(cache_entries, 86_400, 300)));
        World { settings: Arc::new(settings), cache }
    }

    fn lookup(&self, text: &str, want: Want) -> Option<Lookup> {
        let (settings, cache) = (Arc::clone(&self.settings), Arc::clone(&self.cache));
        Lookup::new(settings, cache, true, text, want, 0)
    }

    /// Looks a name up against one function for all servers; it may stay silent.
    fn run(
        &self, text: &str, want: Want, mut server: impl FnMut(&Request) -> Option<Vec<u8>>,
    ) -> Result<Found, Missing> {
        let mut lookup = self.lookup(text, want).unwrap();
        let mut progress = lookup.begin();
        let mut open: Vec<(usize, Request)> = Vec::new();
        loop {
            match progress {
                Progress::End(result) => return result,
                Progress::Wait | Progress::Listen(_) => {}
                Progress::Ask(requests) => open.extend(requests),
            }
            let (side, request) = open.remove(0);
            progress = match server(&request) {
                Some(message) => lookup.received(side, &message),
                None => lookup.failed(side, Failure::TimedOut),
            };
        }
    }
}

fn no_search() -> World {
    World::new("search .", 0)
}

fn addresses(found: &Found) -> Vec<(u32, String)> {
    let address = |data: &Data| match data {
        Data::Address(address) => address.to_string(),
        other => panic!("{other:?}"),
    };
    found.records.iter().map(|record| (record.ttl, address(&record.data))).collect()
}

const A_ALONE: Want = Want::One(Kind::A);

#[test]
fn an_address_comes_with_its_time_to_live() {
    let found = no_search().run("host.example", A_ALONE, |request| {
        assert_eq!(asked(&request.message), ("host.example".into(), Rtype::A));
        Some(reply(&request.message, Rcode::NOERROR, |answer| {
            answer.push(a("HOST.example", 60, "192.0.2.9")).unwrap();
            answer.push(a("host.example", 30, "192.0.2.8")).unwrap();
            answer.push(a("other.example", 1, "192.0.2.7")).unwrap();
        }))
    });
    let found = found.unwrap();
    assert_eq!(addresses(&found), [(60, "192.0.2.9".into()), (30, "192.0.2.8".into())]);
    assert_eq!(found.name, name("host.example"));
}

#[test]
fn both_kinds_of_addresses_are_asked_for_at_once() {
    let found = no_search().run("host.example", Want::Addresses, |request| {
        Some(reply(&request.message, Rcode::NOERROR, |answer| {
            match asked(&request.message).1 {
                Rtype::A => answer.push(a("host.example", 60, "192.0.2.9")).unwrap(),
                _ => answer.push(aaaa("host.example", 50, "2001:db8::9")).unwrap(),
            };
        }))
    });
    let expected = [(60, "192.0.2.9".into()), (50, "2001:db8::9".into())];
    assert_eq!(addresses(&found.unwrap()), expected);
}

#[test]
fn one_kind_of_addresses_is_enough() {
    let found = no_search().run("host.example", Want::Addresses, |request| {
        (asked(&request.message).1 == Rtype::A).then(|| {
            reply(&request.message, Rcode::NOERROR, |answer| {
                answer.push(a("host.example", 60, "192.0.2.9")).unwrap();
            })
        })
    });
    assert_eq!(addresses(&found.unwrap()), [(60, "192.0.2.9".into())]);
}

#[test]
fn what_could_not_be_asked_is_not_told_to_be_absent() {
    let half = |rcode: Rcode| {
        no_search().run("host.example", Want::Addresses, move |request| {
            Some(match asked(&request.message).1 {
                Rtype::A => nothing(&request.message, Rcode::NOERROR, 60),
                _ => reply(&request.message, rcode, |_| ()),
            })
        })
    };
    assert_eq!(half(Rcode::SERVFAIL), Err(Missing::Failure(Failure::Failed)));
    assert_eq!(half(Rcode::REFUSED), Err(Missing::Failure(Failure::Refused)));
    assert_eq!(half(Rcode::NOERROR), Err(Missing::NoData));
}

#[test]
fn services_and_texts_keep_all_their_parts() {
    let world = no_search();
    let found = world.run("_x._tcp.example", Want::One(Kind::Srv), |request| {
        Some(reply(&request.message, Rcode::NOERROR, |answer| {
            let service = Srv::new(10, 20, 8080, name("host.example"));
            let owner = name("_x._tcp.example");
            answer.push((owner, Class::IN, Ttl::from_secs(5), service)).unwrap();
        }))
    });
    let target = name("host.example");
    let expected = Data::Service { priority: 10, weight: 20, port: 8080, target };
    assert_eq!(found.unwrap().records[0].data, expected);
    let found = world.run("text.example", Want::One(Kind::Txt), |request| {
        Some(reply(&request.message, Rcode::NOERROR, |answer| {
            let text = Txt::from_octets(b"\x03one\x00\x02\xff\x00".as_slice()).unwrap();
            answer.push((name("text.example"), Class::IN, Ttl::from_secs(5), text)).unwrap();
        }))
    });
    let expected = Data::Text(vec![b"one".to_vec(), Vec::new(), vec![255, 0]]);
    assert_eq!(found.unwrap().records[0].data, expected);
}

#[test]
fn aliases_are_followed_within_an_answer() {
    let found = no_search().run("www.example", A_ALONE, |request| {
        Some(reply(&request.message, Rcode::NOERROR, |answer| {
            answer.push(a("host.example", 600, "192.0.2.9")).unwrap();
            answer.push(alias("b.example", 300, "host.example")).unwrap();
            answer.push(alias("www.example", 20, "b.example")).unwrap();
        }))
    });
    let found = found.unwrap();
    assert_eq!(found.name, name("host.example"));
    assert_eq!(addresses(&found), [(20, "192.0.2.9".into())]);
}

#[test]
fn an_alias_of_which_no_more_is_said_is_asked_for() {
    let found = no_search().run("www.example", A_ALONE, |request| {
        Some(reply(&request.message, Rcode::NOERROR, |answer| {
            match asked(&request.message).0.as_str() {
                "www.example" => answer.push(alias("www.example", 20, "host.org")).unwrap(),
                _ => answer.push(a("host.org", 600, "192.0.2.9")).unwrap(),
            };
        }))
    });
    assert_eq!(addresses(&found.unwrap()), [(20, "192.0.2.9".into())]);
}

#[test]
fn aliases_in_a_circle_come_to_an_end() {
    let world = no_search();
    let mut questions = 0;
    let found = world.run("a.example", A_ALONE, |request| {
        questions += 1;
        Some(reply(&request.message, Rcode::NOERROR, |answer| {
            answer.push(alias("a.example", 20, "b.example")).unwrap();
            answer.push(alias("b.example", 20, "a.example")).unwrap();
        }))
    });
    assert_eq!(found, Err(Missing::Failure(Failure::Failed)));
    assert_eq!(questions, 6, "malformed, for each server and round");
    let mut questions = 0;
    let found = world.run("0.example", A_ALONE, |request| {
        questions += 1;
        let owner = asked(&request.message).0;
        Some(reply(&request.message, Rcode::NOERROR, |answer| {
            answer.push(alias(&owner, 20, &format!("{questions}.example"))).unwrap();
        }))
    });
    assert_eq!(found, Err(Missing::Failure(Failure::Failed)));
    assert_eq!(questions, 9);
}

#[test]
fn a_name_that_is_not_there_is_told_from_one_without_records() {
    let world = no_search();
    let found = world
        .run("a.example", A_ALONE, |request| Some(nothing(&request.message, Rcode::NXDOMAIN, 60)));
    assert_eq!(found, Err(Missing::NoName));
    let found = world
        .run("a.example", A_ALONE, |request| Some(nothing(&request.message, Rcode::NOERROR, 60)));
    assert_eq!(found, Err(Missing::NoData));
}

#[test]
fn every_server_is_asked_in_every_round_and_longer_each_time() {
    let mut seen = Vec::new();
    let world = World::new("options timeout:1 attempts:2", 0);
    let found = world.run("a.example.", A_ALONE, |request| {
        seen.push((request.server.to_string(), request.timeout_ns / 1_000_000_000));
        None
    });
    assert_eq!(found, Err(Missing::Failure(Failure::TimedOut)));
    let servers = ["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"];
    let expected: Vec<_> = servers.map(|server| (server.to_string(), 1)).to_vec();
    assert_eq!(seen[..3], expected);
    assert_eq!(seen[3..], expected.into_iter().map(|(server, _)| (server, 2)).collect::<Vec<_>>());
}

#[test]
fn rounds_begin_where_they_are_told_to() {
    let world = no_search();
    let (settings, cache) = (Arc::clone(&world.settings), Arc::clone(&world.cache));
    let mut lookup = Lookup::new(settings, cache, true, "a.example", A_ALONE, 2).unwrap();
    let first_server = |progress: Progress| match progress {
        Progress::Ask(requests) => requests[0].1.server.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(first_server(lookup.begin()), "192.0.2.3:53");
    assert_eq!(first_server(lookup.failed(0, Failure::TimedOut)), "192.0.2.1:53");
}

#[test]
fn a_server_that_fails_or_refuses_is_passed_over() {
    for (rcode, failure) in [
        (Rcode::SERVFAIL, Failure::Failed),
        (Rcode::REFUSED, Failure::Refused),
        (Rcode::YXDOMAIN, Failure::Failed),
    ] {
        let world = no_search();
        let found = world.run("a.example", A_ALONE, |request| {
            let is_first = request.server.to_string() == "192.0.2.1:53";
            let rcode = if is_first { rcode } else { Rcode::NOERROR };
            Some(reply(&request.message, rcode, |answer| {
                if !is_first {
                    answer.push(a("a.example", 1, "192.0.2.9")).unwrap();
                }
            }))
        });
        assert_eq!(addresses(&found.unwrap()), [(1, "192.0.2.9".into())]);
        let found = world.run("a.example", A_ALONE, |request| {
            let is_first = request.server.to_string() == "192.0.2.1:53";
            is_first.then(|| reply(&request.message, rcode, |_| {}))
        });
        assert_eq!(found, Err(Missing::Failure(failure)), "silence tells less than {rcode}");
    }
}

#[test]
fn an_answer_that_was_cut_is_asked_for_over_a_stream() {
    let mut seen = Vec::new();
    let found = no_search().run("a.example", A_ALONE, |request| {
        seen.push((request.server.to_string(), request.stream));
        let mut answer = reply(&request.message, Rcode::NOERROR, |answer| {
            answer.push(a("a.example", 1, "192.0.2.9")).unwrap();
        });
        if !request.stream {
            answer[2] |= 2;
        }
        Some(answer)
    });
    assert_eq!(addresses(&found.unwrap()), [(1, "192.0.2.9".into())]);
    assert_eq!(seen, [("192.0.2.1:53".to_string(), false), ("192.0.2.1:53".to_string(), true)]);
}

#[test]
fn a_server_without_edns_is_asked_without_it() {
    let mut options = Vec::new();
    let found = no_search().run("a.example", A_ALONE, |request| {
        let has_option = Message::from_octets(request.message.as_slice()).unwrap().opt().is_some();
        options.push(has_option);
        let rcode = if has_option { Rcode::FORMERR } else { Rcode::NOERROR };
        Some(reply(&request.message, rcode, |answer| {
            if !has_option {
                answer.push(a("a.example", 1, "192.0.2.9")).unwrap();
            }
        }))
    });
    assert!(found.is_ok());
    assert_eq!(options, [true, false]);
}

#[test]
fn only_the_answer_to_the_question_is_believed() {
    let world = no_search();
    let mut lookup = world.lookup("a.example", A_ALONE).unwrap();
    let Progress::Ask(requests) = lookup.begin() else { panic!("nothing is asked") };
    let query = &requests[0].1.message;
    let right = reply(query, Rcode::NOERROR, |answer| {
        answer.push(a("a.example", 1, "192.0.2.9")).unwrap();
    });
    let mut wrong_number = right.clone();
    wrong_number[1] ^= 1;
    let mut other_name = query.clone();
    other_name[13] ^= 1;
    let other_name = reply(&other_name, Rcode::NOERROR, |_| {});
    let mut other_kind = query.clone();
    let kind_at = 12 + name("a.example").len() + 1;
    other_kind[kind_at] = 16;
    let other_kind = reply(&other_kind, Rcode::NOERROR, |_| {});
    let mut no_question = right.clone();
    no_question[5] = 0;
    for foreign in [wrong_number, other_name, other_kind, no_question, query.clone(), Vec::new()] {
        assert_eq!(lookup.received(0, &foreign), Progress::Listen(0), "{foreign:?}");
    }
    assert!(matches!(lookup.received(0, &right), Progress::End(Ok(_))));
}

#[test]
fn an_answer_that_is_cut_short_counts_as_a_failure() {
    let found = no_search().run("a.example", A_ALONE, |request| {
        let mut answer = reply(&request.message, Rcode::NOERROR, |answer| {
            answer.push(a("a.example", 1, "192.0.2.9")).unwrap();
        });
        answer.pop();
        Some(answer)
    });
    assert_eq!(found, Err(Missing::Failure(Failure::Failed)));
}

/// The names that are asked for when none is there.
fn tried(conf: &str, text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let _ = World::new(conf, 0).run(text, A_ALONE, |request| {
        names.push(asked(&request.message).0);
        Some(nothing(&request.message, Rcode::NXDOMAIN, 0))
    });
    names
}

#[test]
fn short_names_are_tried_in_the_search_domains_first() {
    let conf = "search one.example two.example\noptions ndots:2";
    assert_eq!(tried(conf, "a"), ["a.one.example", "a.two.example", "a"]);
    assert_eq!(tried(conf, "a.b"), ["a.b.one.example", "a.b.two.example", "a.b"]);
    assert_eq!(tried(conf, "a.b.c"), ["a.b.c", "a.b.c.one.example", "a.b.c.two.example"]);
    assert_eq!(tried(conf, "a.b.c."), ["a.b.c"]);
    let long =
        format!("{}.{}.{}.{}", "x".repeat(63), "x".repeat(63), "x".repeat(63), "y".repeat(55));
    assert_eq!(tried(conf, &long), [long]);
}

#[test]
fn a_search_ends_with_the_first_name_that_is_there() {
    let world = World::new("search one.example two.example", 0);
    let found = world.run("a", A_ALONE, |request| {
        let is_second = asked(&request.message).0 == "a.two.example";
        Some(if is_second {
            reply(&request.message, Rcode::NOERROR, |answer| {
                answer.push(a("a.two.example", 1, "192.0.2.9")).unwrap();
            })
        } else {
            nothing(&request.message, Rcode::NXDOMAIN, 0)
        })
    });
    assert_eq!(found.unwrap().name, name("a.two.example"));
}

#[test]
fn a_search_ends_with_servers_that_are_silent() {
    let mut questions = 0;
    let world = World::new("search one.example two.example", 0);
    let found = world.run("a", A_ALONE, |_| {
        questions += 1;
        None
    });
    assert_eq!(found, Err(Missing::Failure(Failure::TimedOut)));
    assert_eq!(questions, 6);
}

#[test]
fn a_name_without_records_is_remembered_through_a_search() {
    let world = World::new("search one.example two.example", 0);
    let found = world.run("a", A_ALONE, |request| {
        let is_first = asked(&request.message).0 == "a.one.example";
        let rcode = if is_first { Rcode::NOERROR } else { Rcode::NXDOMAIN };
        Some(nothing(&request.message, rcode, 0))
    });
    assert_eq!(found, Err(Missing::NoData));
}

#[test]
fn what_is_no_name_is_refused() {
    let world = no_search();
    let long = "x".repeat(64);
    for text in ["", "a..b", ".a", "\u{e9}t\u{e9}.example", &long, &"a.".repeat(128)] {
        assert!(world.lookup(text, A_ALONE).is_none(), "{text:?}");
    }
    assert!(world.lookup("a_b.example", A_ALONE).is_some());
}

#[test]
fn a_cache_answers_until_the_time_is_over() {
    let world = World::new("search .", 10);
    let mut questions = 0;
    for _ in 0..3 {
        let found = world.run("host.example", Want::Addresses, |request| {
            questions += 1;
            Some(match asked(&request.message).1 {
                Rtype::A => reply(&request.message, Rcode::NOERROR, |answer| {
                    answer.push(a("host.example", 60, "192.0.2.9")).unwrap();
                }),
                _ => nothing(&request.message, Rcode::NOERROR, 60),
            })
        });
        assert_eq!(addresses(&found.unwrap())[0].1, "192.0.2.9");
    }
    assert_eq!(questions, 2);
    let mut questions = 0;
    for _ in 0..3 {
        let found = world.run("never.example", A_ALONE, |request| {
            questions += 1;
            Some(reply(&request.message, Rcode::NOERROR, |answer| {
                answer.push(a("never.example", 0, "192.0.2.9")).unwrap();
            }))
        });
        assert!(found.is_ok());
    }
    assert_eq!(questions, 3);
}

#[test]
fn a_server_that_cannot_be_reached_is_told_from_a_silent_one() {
    let world = no_search();
    let mut lookup = world.lookup("a.example", A_ALONE).unwrap();
    lookup.begin();
    let unreachable = Failure::Unreachable(Errno::EBADF);
    for _ in 0..5 {
        assert!(matches!(lookup.failed(0, unreachable), Progress::Ask(_)));
    }
    let end = lookup.failed(0, Failure::TimedOut);
    assert_eq!(end, Progress::End(Err(Missing::Failure(unreachable))));
}

/// An answer with a bit of everything, for `changed_answers_never_do_harm`.
fn rich_answer(query: &[u8]) -> Vec<u8> {
    reply(query, Rcode::NOERROR, |answer| {
        answer.push(alias("a.example", 20, "b.example")).unwrap();
        answer.push(a("b.example", 1, "192.0.2.9")).unwrap();
        answer.push(aaaa("b.example", 1, "2001:db8::9")).unwrap();
        let service = Srv::new(10, 20, 8080, name("b.example"));
        answer.push((name("b.example"), Class::IN, Ttl::from_secs(5), service)).unwrap();
        let text = Txt::from_octets(b"\x03one\x00\x02\xff\x00".as_slice()).unwrap();
        answer.push((name("b.example"), Class::IN, Ttl::from_secs(5), text)).unwrap();
    })
}

/// Answers with bits, bytes and lengths changed at random. `AIO_TEST_SECONDS` says for how long
/// (one second), `AIO_TEST_SEED` with which seed.
#[test]
fn changed_answers_never_do_harm() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = variable("AIO_TEST_SEED").unwrap_or_else(crate::sys::clock::random_bits);
    println!("AIO_TEST_SEED={seed}");
    let end_ns =
        crate::sys::clock::now_ns() + variable("AIO_TEST_SECONDS").unwrap_or(1) * 1_000_000_000;
    let mut state = seed;
    let mut random = move |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let world = no_search();
    let wants = [Kind::A, Kind::Txt, Kind::Aaaa, Kind::Srv].map(Want::One);
    let (mut rounds, mut ended, mut waited, mut asked_again) = (0u64, 0u64, 0u64, 0u64);
    while rounds % 1024 != 0 || crate::sys::clock::now_ns() < end_ns {
        rounds += 1;
        let mut lookup = world.lookup("a.example", wants[random(4)]).unwrap();
        let Progress::Ask(requests) = lookup.begin() else { panic!("nothing is asked") };
        let query = &requests[0].1.message;
        let mut answer = match random(4) {
            0 => nothing(query, Rcode::NXDOMAIN, 60),
            _ => rich_answer(query),
        };
        // The head is left alone in most rounds, or all would be foreign.
        let from = if random(8) == 0 { 0 } else { 12 };
        for _ in 0..1 + random(6) {
            let at = from + random(answer.len() - from);
            match random(5) {
                0 => answer[at] ^= 1 << random(8),
                1 => answer[at] = random(256) as u8,
                2 => answer[at] = 0xc0 | random(64) as u8,
                3 => answer.truncate(at.max(13)),
                _ => answer.insert(at, random(256) as u8),
            }
        }
        match lookup.received(0, &answer) {
            Progress::Wait | Progress::Listen(_) => waited += 1,
            Progress::Ask(_) => asked_again += 1,
            Progress::End(_) => ended += 1,
        }
    }
    println!("{rounds} rounds: {ended} ended, {waited} foreign, {asked_again} asked again");
    assert!(ended > 0 && waited > 0 && asked_again > 0);
}
