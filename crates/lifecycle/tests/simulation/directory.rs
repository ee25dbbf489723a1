//! Directories: they take orders, enforce their limits themselves, count what went over them, and are
//! down, limited or slow for a time.

use std::collections::HashMap;

use crate::clock::{DAY, HOUR, MINUTE, Moment, SECOND};
use crate::random::Random;

/// How long after an order another one for the same names is an order doubled, while the first is
/// alive.
const RETRY_WINDOW: Moment = MINUTE;
/// How long an order lives that nobody ends.
const ORDER_LIFE: Moment = 7 * DAY;

/// How much earlier than it is issued the life of a version begins.
pub(crate) const BACKDATED: Moment = HOUR;

/// What is wrong with a directory for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Down,
    /// Every order is refused.
    Limited,
    /// An order takes up to an hour.
    Slow,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Spell {
    pub(crate) fault: Fault,
    pub(crate) from: Moment,
    pub(crate) to: Moment,
}

/// A limit as the directory enforces it: exact, in whole numbers.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    burst: i64,
    period: Moment,
}

/// That the windows of the first certificates are pulled to a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recall {
    pub(crate) at: Moment,
    pub(crate) length: Moment,
    /// Certificates below this number are recalled.
    pub(crate) certificates: usize,
}

/// What a directory is like.
#[derive(Debug, Default)]
pub(crate) struct Nature {
    pub(crate) name: &'static str,
    /// Whether it has renewal information, and exempts renewals that say what they replace.
    pub(crate) has_windows: bool,
    /// How often it wants to be asked for that.
    pub(crate) look_every: Moment,
    pub(crate) spells: Vec<Spell>,
    pub(crate) recall: Option<Recall>,
    /// In 10,000 orders, those whose answer is lost.
    pub(crate) lost_answers: u64,
    /// In 10,000 orders, those whose validation fails without reason.
    pub(crate) flakes: u64,
}

#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) nature: Nature,
    pub(crate) seen: Seen,
    orders: HashMap<u64, Order>,
    /// Orders of each certificate that are alive.
    alive: HashMap<usize, Vec<u64>>,
    levels: HashMap<Counted, Moment>,
    last_url: u64,
}

/// What a directory has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// New orders in each hour, accepted or not.
    pub(crate) orders: Vec<u32>,
    /// Requests of all kinds in each hour.
    pub(crate) requests: Vec<u32>,
    pub(crate) placed: u64,
    pub(crate) issued: u64,
    /// Orders that went over a limit that the directory announces.
    pub(crate) violations: Vec<String>,
    /// Orders that were refused for no limit that it announces.
    pub(crate) refused: u64,
    /// Orders for a certificate within the retry window of one that is alive.
    pub(crate) doubled: Vec<String>,
    pub(crate) lost: u64,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    certificate: usize,
    created_at: Moment,
    ready_at: Moment,
    is_flake: bool,
}

/// What is counted. A certificate has one name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Counted {
    Orders,
    Domain(usize),
    Duplicates(usize),
    Failures(usize),
}

/// What is ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewOrder {
    pub(crate) certificate: usize,
    /// The number of the registered domain of its name.
    pub(crate) domain: usize,
    /// Whether it replaces a version of this directory.
    pub(crate) is_replacement: bool,
}

/// The answer to an order or to a question about one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Unreachable,
    /// 429.
    Refused {
        detail: &'static str,
        retry_after: Option<Moment>,
    },
    Placed {
        url: u64,
        retry_after: Moment,
    },
    Pending {
        retry_after: Moment,
        age: Moment,
    },
    Invalid,
    Issued,
}

impl Bucket {
    /// When one can be taken. Levels are in fractions of a millisecond: `burst` to one.
    fn free_at(&self, level: Option<Moment>) -> Moment {
        let Some(level) = level else {
            return Moment::MIN;
        };
        let free = level + self.period - self.period * self.burst;
        -(-free).div_euclid(self.burst)
    }

    fn taken(&self, level: Option<Moment>, now: Moment) -> Moment {
        level.unwrap_or(Moment::MIN).max(now * self.burst) + self.period
    }
}

impl Counted {
    /// Let's Encrypt's limit.
    fn limit(self) -> Bucket {
        let (burst, period) = match self {
            Self::Orders => (300, 3 * HOUR),
            Self::Domain(_) => (50, 7 * DAY),
            Self::Duplicates(_) => (5, 7 * DAY),
            Self::Failures(_) => (5, HOUR),
        };
        Bucket { burst, period }
    }

    /// What Let's Encrypt says when it is reached.
    fn detail(self) -> &'static str {
        match self {
            Self::Orders => "too many new orders (300) from this account in the last 3h0m0s",
            Self::Domain(_) => "too many certificates (50) already issued for this domain",
            Self::Duplicates(_) => "too many certificates (5) already issued for this exact set of",
            Self::Failures(_) => "too many failed authorizations (5) for this name",
        }
    }
}

impl Directory {
    pub(crate) fn new(nature: Nature) -> Self {
        Self {
            nature,
            seen: Seen::default(),
            orders: HashMap::new(),
            alive: HashMap::new(),
            levels: HashMap::new(),
            last_url: 0,
        }
    }

    pub(crate) fn has(&self, fault: Fault, now: Moment) -> bool {
        let mut spells = self.nature.spells.iter();
        spells.any(|spell| spell.fault == fault && (spell.from..spell.to).contains(&now))
    }

    /// Takes an order, or not.
    pub(crate) fn order(&mut self, order: NewOrder, now: Moment, random: &mut Random) -> Answer {
        count(&mut self.seen.orders, now);
        count(&mut self.seen.requests, now);
        if self.has(Fault::Down, now) {
            return Answer::Unreachable;
        }
        if self.has(Fault::Limited, now) {
            self.seen.refused += 1;
            return Answer::Refused {
                detail: "Service busy; retry later.",
                retry_after: Some(HOUR),
            };
        }
        if let Some(refused) = self.enforce(order, now) {
            return refused;
        }
        self.look_for_doubles(order, now);
        let wait = if self.has(Fault::Slow, now) {
            random.between(5 * MINUTE, HOUR)
        } else {
            random.between(2 * SECOND, 30 * SECOND)
        };
        self.last_url += 1;
        self.orders.insert(
            self.last_url,
            Order {
                certificate: order.certificate,
                created_at: now,
                ready_at: now + wait,
                is_flake: random.happens(self.nature.flakes),
            },
        );
        let alive = self.alive.entry(order.certificate).or_default();
        alive.push(self.last_url);
        self.seen.placed += 1;
        if random.happens(self.nature.lost_answers) {
            self.seen.lost += 1;
            return Answer::Unreachable;
        }
        Answer::Placed {
            url: self.last_url,
            retry_after: wait.min(5 * MINUTE),
        }
    }

    /// What has become of an order. `can_validate` tells whether control over the names can be proven
    /// at present.
    pub(crate) fn look(
        &mut self,
        url: u64,
        domain: usize,
        can_validate: bool,
        now: Moment,
    ) -> Answer {
        count(&mut self.seen.requests, now);
        if self.has(Fault::Down, now) {
            return Answer::Unreachable;
        }
        let Some(order) = self.orders.get(&url).copied() else {
            return Answer::Invalid;
        };
        if now < order.ready_at {
            return Answer::Pending {
                retry_after: (order.ready_at - now).min(5 * MINUTE),
                age: now - order.created_at,
            };
        }
        self.end(url);
        if order.is_flake || !can_validate {
            self.take(Counted::Failures(order.certificate), now);
            return Answer::Invalid;
        }
        self.take(Counted::Duplicates(order.certificate), now);
        self.take(Counted::Domain(domain), now);
        self.seen.issued += 1;
        Answer::Issued
    }

    /// The window in which the directory wants a version to be renewed that lives so long; nothing when
    /// it does not answer.
    pub(crate) fn window(
        &mut self,
        certificate: usize,
        lives: (Moment, Moment),
        now: Moment,
    ) -> Option<(Moment, Moment)> {
        count(&mut self.seen.requests, now);
        if self.has(Fault::Down, now) {
            return None;
        }
        let (not_before, not_after) = lives;
        if let Some(recall) = self.nature.recall
            && certificate < recall.certificates
            && not_before + BACKDATED < recall.at
            && recall.at <= now
        {
            return Some((recall.at, recall.at + recall.length));
        }
        let life = not_after - not_before;
        Some((not_before + life * 64 / 100, not_before + life * 67 / 100))
    }

    /// Forgets what is over.
    pub(crate) fn sweep(&mut self, now: Moment) {
        let is_alive = |order: &Order| order.created_at + ORDER_LIFE > now;
        self.orders.retain(|_, order| is_alive(order));
        let orders = &self.orders;
        self.alive.retain(|_, urls| {
            urls.retain(|url| orders.contains_key(url));
            !urls.is_empty()
        });
        self.levels
            .retain(|counted, level| *level > now * counted.limit().burst);
    }

    fn end(&mut self, url: u64) {
        let Some(order) = self.orders.remove(&url) else {
            return;
        };
        if let Some(urls) = self.alive.get_mut(&order.certificate) {
            urls.retain(|other| *other != url);
        }
    }

    /// Checks the limits and counts the order. Certificates and failed validations are counted when
    /// they happen.
    fn enforce(&mut self, order: NewOrder, now: Moment) -> Option<Answer> {
        if order.is_replacement && self.nature.has_windows {
            return None;
        }
        let counted = [
            Counted::Orders,
            Counted::Domain(order.domain),
            Counted::Failures(order.certificate),
            Counted::Duplicates(order.certificate),
        ];
        for counted in counted {
            let free = counted.limit().free_at(self.levels.get(&counted).copied());
            if free > now {
                let what = format!("{counted:?}, {} ms early at {now}", free - now);
                self.seen.violations.push(what);
                return Some(Answer::Refused {
                    detail: counted.detail(),
                    retry_after: Some(free - now),
                });
            }
        }
        self.take(Counted::Orders, now);
        None
    }

    fn take(&mut self, counted: Counted, now: Moment) {
        let level = counted
            .limit()
            .taken(self.levels.get(&counted).copied(), now);
        self.levels.insert(counted, level);
    }

    fn look_for_doubles(&mut self, order: NewOrder, now: Moment) {
        let alive = self.alive.get(&order.certificate).into_iter().flatten();
        for url in alive {
            let Some(first) = self.orders.get(url) else {
                continue;
            };
            if now - first.created_at < RETRY_WINDOW {
                let what = format!("{} at {} and {now}", order.certificate, first.created_at);
                self.seen.doubled.push(what);
            }
        }
    }
}

fn count(hours: &mut Vec<u32>, now: Moment) {
    let hour = usize::try_from(now / HOUR).expect("an hour of the run");
    if hours.len() <= hour {
        hours.resize(hour + 1, 0);
    }
    hours[hour] += 1;
}
