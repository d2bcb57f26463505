//! Whatever was done in whatever order: the verdicts are those of a model that fits on a page.

use proptest::prelude::*;

use super::*;
use crate::model::Networks;
use crate::store::{Keep, Recorder, Uses};

const DAY: i64 = 24 * 60 * 60;
const MAILBOXES: [&str; 3] = ["office", "bob", "cid"];
/// Each owns the mailbox of that name.
const PERSONS: [&str; 2] = ["bob", "cid"];
const ADDRESS: &str = "192.0.2.7";

#[derive(Debug, Clone)]
enum Command {
    Issue(usize, Option<usize>, Wish),
    /// With how many seconds for the old password.
    Rotate(usize, Option<i64>),
    Revoke(usize),
    Set(usize, Wish),
    Use(usize),
    Give(usize, usize),
    Take(usize, usize),
    Enable(usize, bool),
    /// The daemon does that now and then; no verdict may depend on it.
    Prune,
    Forward(i64),
}

/// Limits relative to now.
#[derive(Debug, Clone)]
struct Wish {
    imap_only: bool,
    from_address_only: bool,
    expires_in: Option<i64>,
    unused_days: Option<u32>,
}

impl Wish {
    fn limits(&self, now: i64) -> Limits {
        Limits {
            services: Services::from_bits(1).filter(|_| self.imap_only),
            networks: (self.from_address_only).then(|| ADDRESS.parse::<Networks>().unwrap()),
            expires: self.expires_in.map(|span| Timestamp::from_unix(now + span)),
            expires_unused_days: self.unused_days,
        }
    }
}

#[derive(Debug, Default)]
struct Model {
    now: i64,
    disabled: Vec<usize>,
    /// Mailbox and person.
    access: Vec<(usize, usize)>,
    devices: Vec<Device>,
    secrets: Vec<OneSecret>,
}

#[derive(Debug)]
struct Device {
    id: DeviceId,
    mailbox: usize,
    person: Option<usize>,
    revoked: bool,
    limits: Limits,
    sign_of_life: i64,
}

#[derive(Debug)]
struct OneSecret {
    device: usize,
    password: Secret,
    /// The time from which on it has ended.
    until: i64,
}

/// Who wants what with which secret.
#[derive(Debug, Clone, Copy)]
struct Ask {
    secret: usize,
    mailbox: usize,
    person: Option<usize>,
    is_imap: bool,
    from_address: bool,
}

impl Model {
    /// The rules, once more, in other words.
    fn lets_in(&self, ask: Ask) -> bool {
        let secret = &self.secrets[ask.secret];
        let device = &self.devices[secret.device];
        let limits = &device.limits;
        let is_before = |end: Timestamp| self.now < end.as_unix();
        let days = |days: u32| self.now < device.sign_of_life + i64::from(days) * DAY;
        let lives = !device.revoked
            && self.now < secret.until
            && limits.expires.is_none_or(is_before)
            && limits.expires_unused_days.is_none_or(days);
        let fits = (limits.services.is_none() || ask.is_imap)
            && (limits.networks.is_none() || ask.from_address);
        let is_enabled = |mailbox| !self.disabled.contains(&mailbox);
        let belongs = match ask.person {
            None => device.mailbox == ask.mailbox,
            // The mailbox of a person stands one place behind the office.
            Some(person) => {
                device.mailbox == person + 1
                    && device.person.is_none()
                    && self.access.contains(&(ask.mailbox, person))
            }
        };
        lives && fits && belongs && is_enabled(ask.mailbox) && is_enabled(device.mailbox)
    }

    fn revoke(&mut self, which: impl Fn(&Device) -> bool) {
        for device in self.devices.iter_mut().filter(|device| which(device)) {
            device.revoked = true;
        }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_unix(self.now)
    }
}

/// Does it to the database and to the model. What cannot be done is done to neither.
fn perform(site: &mut Site, recorder: &mut Recorder, model: &mut Model, command: &Command) {
    let (now, by) = (model.wall(), site.admin.actor.clone());
    match command {
        Command::Issue(on, whom, wish) => {
            let label = format!("device {}", model.devices.len()).parse().unwrap();
            let person = whom.map(|whom| person(PERSONS[whom]));
            let limits = wish.limits(model.now);
            let mailbox = mailbox(MAILBOXES[*on]);
            let issued = (site.admin).issue(&mailbox, person.as_ref(), &label, &limits, now);
            // An owner's own device password carries no person.
            let is_owner = whom.is_some_and(|whom| whom + 1 == *on);
            let has_access =
                whom.is_none_or(|whom| is_owner || model.access.contains(&(*on, whom)));
            assert_eq!(issued.is_ok(), has_access, "{issued:?}");
            let Ok(issued) = issued else { return };
            model.secrets.push(OneSecret {
                device: model.devices.len(),
                password: issued.password,
                until: i64::MAX,
            });
            model.devices.push(Device {
                id: issued.device.id,
                mailbox: *on,
                person: whom.filter(|_| !is_owner),
                revoked: false,
                limits,
                sign_of_life: model.now,
            });
        }
        Command::Rotate(device, keep_old) => {
            let Some(id) = active(model, *device) else {
                return;
            };
            let issued = site.admin.begin_rotation(&id, now).unwrap();
            let until = keep_old.map(|span| Timestamp::from_unix(model.now + span));
            site.admin.finish_rotation(&issued, until, now).unwrap();
            let end = until.unwrap_or(now).as_unix();
            for old in model.secrets.iter_mut().filter(|old| old.device == *device) {
                old.until = old.until.min(end);
            }
            model.secrets.push(OneSecret {
                device: *device,
                password: issued.password,
                until: i64::MAX,
            });
        }
        Command::Revoke(device) => {
            let Some(id) = active(model, *device) else {
                return;
            };
            site.admin.store.revoke(&[id], &by, now).unwrap();
            model.devices[*device].revoked = true;
        }
        Command::Set(device, wish) => {
            let Some(id) = active(model, *device) else {
                return;
            };
            let limits = wish.limits(model.now);
            site.admin.set_limits(&id, |_| limits.clone(), now).unwrap();
            let device = &mut model.devices[*device];
            // Also where nothing changed: somebody has said that it is to be so.
            device.sign_of_life = model.now;
            device.limits = limits;
        }
        Command::Use(device) => {
            let Some(id) = active(model, *device) else {
                return;
            };
            let used = Uses {
                device: id,
                service: Service::Imap,
                address: None,
                first: now,
                last: now,
                count: 1,
            };
            recorder.record_uses(&[used], instant()).unwrap();
            model.devices[*device].sign_of_life = model.now;
        }
        Command::Give(to, whom) => {
            let (on, person) = (mailbox(MAILBOXES[*to]), person(PERSONS[*whom]));
            let given = site.admin.store.give_access(&on, &person, &by, now);
            let is_new = !model.access.contains(&(*to, *whom)) && whom + 1 != *to;
            assert_eq!(given.is_ok(), is_new, "{given:?}");
            model.access.extend(is_new.then_some((*to, *whom)));
        }
        Command::Take(from, whom) => {
            let (on, person) = (mailbox(MAILBOXES[*from]), person(PERSONS[*whom]));
            let taken = site.admin.store.take_access(&on, &person, &by, now);
            assert_eq!(
                taken.is_ok(),
                model.access.contains(&(*from, *whom)),
                "{taken:?}"
            );
            model.access.retain(|access| *access != (*from, *whom));
            model.revoke(|device| device.mailbox == *from && device.person == Some(*whom));
        }
        Command::Enable(which, enabled) => {
            let which_one = mailbox(MAILBOXES[*which]);
            let _ = (site.admin.store).set_mailbox_enabled(&which_one, *enabled, &by, now);
            model.disabled.retain(|disabled| disabled != which);
            model.disabled.extend((!enabled).then_some(*which));
        }
        Command::Prune => {
            // Tombstones are forgotten at once: an ended secret must not be needed to be refused.
            let keep = Keep {
                tombstones: Duration::ZERO,
                events: Duration::ZERO,
            };
            while recorder.prune(keep, now, instant()).unwrap() {}
        }
        Command::Forward(seconds) => model.now += seconds,
    }
}

/// The id of that device password, if there is one and it is active.
fn active(model: &Model, device: usize) -> Option<DeviceId> {
    let device = model.devices.get(device)?;
    (!device.revoked).then(|| device.id.clone())
}

fn assert_agree(checker: &mut Checker, memo: &Memo, model: &Model) -> Result<(), TestCaseError> {
    let now = Now {
        wall: model.wall(),
        monotonic: instant(),
    };
    for (secret, mailbox) in
        (0..model.secrets.len()).flat_map(|secret| (0..MAILBOXES.len()).map(move |m| (secret, m)))
    {
        for (person, is_imap, from_address) in [
            (None, true, true),
            (None, false, true),
            (None, true, false),
            (Some(0), true, true),
            (Some(0), false, false),
            (Some(1), true, true),
        ] {
            let ask = Ask {
                secret,
                mailbox,
                person,
                is_imap,
                from_address,
            };
            let attempt = Attempt {
                person: person.map(|whom| super::person(PERSONS[whom])),
                service: if is_imap {
                    Service::Imap
                } else {
                    Service::Smtp
                },
                origin: from_address.then(|| ADDRESS.parse().unwrap()),
                ..attempt(MAILBOXES[mailbox], &model.secrets[secret].password)
            };
            let outcome = outcome(checker, &attempt, now);
            let remembered = outcome_with(memo, checker, &attempt, now);
            prop_assert_eq!(&remembered, &outcome, "{:?} {:?}", ask, model);
            prop_assert_ne!(outcome.verdict(), Verdict::TryLater);
            let lets_in = model.lets_in(ask);
            prop_assert_eq!(
                is_allowed(&outcome),
                lets_in,
                "{:?} {:?} {:?}",
                ask,
                outcome,
                model
            );
        }
    }
    Ok(())
}

/// Seconds; often a whole day, so that the very second of an end is met.
fn span() -> impl Strategy<Value = i64> {
    prop_oneof![2 => Just(DAY), 1 => Just(1), 2 => 1..2 * DAY]
}

fn wish() -> impl Strategy<Value = Wish> {
    let expires_in = prop::option::weighted(0.3, span());
    let unused_days = prop::option::weighted(0.3, 1..3_u32);
    let one_in_four = || prop::bool::weighted(0.25);
    (one_in_four(), one_in_four(), expires_in, unused_days).prop_map(
        |(imap_only, from_address_only, expires_in, unused_days)| Wish {
            imap_only,
            from_address_only,
            expires_in,
            unused_days,
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let mailbox = || 0..MAILBOXES.len();
    let person = || 0..PERSONS.len();
    let device = || 0..8_usize;
    let whom = prop::option::weighted(0.6, person());
    prop_oneof![
        5 => (mailbox(), whom, wish()).prop_map(|(on, whom, wish)| Command::Issue(on, whom, wish)),
        2 => (device(), prop::option::of(span()))
            .prop_map(|(device, keep_old)| Command::Rotate(device, keep_old)),
        1 => device().prop_map(Command::Revoke),
        2 => (device(), wish()).prop_map(|(device, wish)| Command::Set(device, wish)),
        2 => device().prop_map(Command::Use),
        4 => (mailbox(), person()).prop_map(|(to, whom)| Command::Give(to, whom)),
        1 => (mailbox(), person()).prop_map(|(from, whom)| Command::Take(from, whom)),
        1 => (mailbox(), any::<bool>()).prop_map(|(which, on)| Command::Enable(which, on)),
        1 => Just(Command::Prune),
        2 => span().prop_map(Command::Forward),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn after_any_history_the_verdicts_are_those_of_the_model_with_and_without_the_memo(
        commands in prop::collection::vec(command(), 1..40),
    ) {
        let mut site = Site::new();
        site.add_mailboxes(&MAILBOXES);
        site.add_persons(&PERSONS);
        let mut recorder = Recorder::new(site.path.clone(), Identity::default(), 10);
        let (mut checker, memo) = (site.checker(), memo());
        let mut model = Model {
            now: clock::now().as_unix(),
            ..Model::default()
        };
        for command in &commands {
            perform(&mut site, &mut recorder, &mut model, command);
            assert_agree(&mut checker, &memo, &model)?;
        }
    }
}
