//! Rules that a test can take away, one at a time, to show that the simulation notices.
//!
//! In a program that is not under test [`mutant!`] is the constant `false`, and what it guards is not compiled in.

/// Whether a rule is taken away: `mutant!(NoLease)`.
#[cfg(test)]
macro_rules! mutant {
    ($rule:ident) => {
        $crate::cluster::mutant::is_active($crate::cluster::mutant::Mutant::$rule)
    };
}

/// Whether a rule is taken away: never, outside tests.
#[cfg(not(test))]
macro_rules! mutant {
    ($rule:ident) => {
        false
    };
}

pub(crate) use mutant;

#[cfg(test)]
pub(crate) use under_test::{Mutant, is_active, now_and_then, with_mutant};

#[cfg(test)]
mod under_test {
    use std::cell::Cell;

    macro_rules! mutants {
        (
            $(#[doc = $of_text:literal])+ $of_engine:ident: [$($(#[doc = $text:literal])+ $name:ident,)*];
            $(#[doc = $other_text:literal])+ $of_conductor:ident: [$($(#[doc = $more:literal])+ $other:ident,)*];
        ) => {
            /// A rule that is broken. The text of each says how.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub(crate) enum Mutant {
                $($(#[doc = $text])+ $name,)*
                $($(#[doc = $more])+ $other,)*
            }

            impl Mutant {
                $(#[doc = $of_text])+
                pub(crate) const $of_engine: &'static [Self] = &[$(Self::$name,)*];

                $(#[doc = $other_text])+
                pub(crate) const $of_conductor: &'static [Self] = &[$(Self::$other,)*];

                /// Its name, as the command line takes it.
                pub(crate) const fn name(self) -> &'static str {
                    match self {
                        $(Self::$name => stringify!($name),)*
                        $(Self::$other => stringify!($other),)*
                    }
                }

                /// What it does.
                pub(crate) const fn text(self) -> &'static str {
                    match self {
                        $(Self::$name => concat!($($text,)+),)*
                        $(Self::$other => concat!($($more,)+),)*
                    }
                }
            }
        };
    }

    mutants! {
        /// Those that the simulation of one item catches.
        ALL: [
        // Journal
        /// `ok` is said when the chunk is sent.
        AckBeforeWrite,
        /// After an attempt of unknown outcome the number of the chunk is given to other votes.
        ReusesNumber,
        /// The next chunk of a lane does not wait for the one before.
        TwoInFlight,
        /// A restarted pod appends as the writer it was before.
        ReusesWriter,
        /// Votes do not wait until their lane is registered.
        VotesBeforeRegistration,
        /// Votes are taken as soon as their lane is registered, and lanes met while reading are not asked for again.
        NoRegistrationWait,
        // Merge
        /// The entry merged last wins, whatever its version.
        LastMergedWins,
        /// Of two entries of the same version the one merged first stays.
        TiesKeepTheFirst,
        /// A vote enters the map when it is sent.
        MergesBeforeWrite,
        /// The server stamps a vote with its own clock, above the entry it holds.
        ServerStampsVersions,
        /// A reader goes on behind a missing chunk.
        SkipsHoles,
        /// A reader skips a chunk it cannot read.
        SkipsUnreadable,
        /// A lane met for the first time is read from where `materialised` says.
        NewLaneFromMaterialised,
        // Checkpoint
        /// `materialised` is advanced although rows were not written.
        MaterialisedBeforeNotes,
        /// Rows are written for chunks that nobody knows to be in the result.
        CheckpointsWithoutLease,
        /// Rows hold what the map holds, other pods' chunks of unknown fate included.
        CheckpointsOthersNotes,
        /// A row that was read in `notes` is not written again, although it may be on one replica only.
        TrustsRows,
        /// `notes` is read before `materialised`.
        NotesBeforeMaterialised,
        // Lease and replies
        /// There is no lease.
        NoLease,
        /// The lease is tested when the chunk is sent and not after it was written.
        LeaseTestedBefore,
        /// The lease runs from the end of the reading.
        LeaseFromEndOfReading,
        /// The lease's clock stands still while the pod does.
        LeaseClockStops,
        /// Any reading of the phase renews the lease.
        ClosingRenewsLease,
        /// A repeated or older vote is answered from the map, which may hold what is on one replica only.
        AnswersFromMap,
        /// A repeat of a note the map holds is `ok` after the close, too.
        RepeatsAreOkAfterClose,
        /// An older vote is `ok`.
        StaleIsOk,
        /// Any version is taken.
        AnyVersion,
        /// The server's clock follows the versions it sees.
        RatchetsClock,
        /// A note that is held does not let its viewer name the version after it.
        HeldGivesNoVersion,
        /// A note that is held lets its viewer name a version a minute after it.
        HeldGivesAMinute,
        /// Numbers are never marked stale.
        NeverStale,
        /// Numbers claim to be all there is at the moment they are made.
        ClaimsNow,
        /// The moment that numbers name is made anew each time.
        AsOfGoesBack,
        /// Which lanes there are is asked less often than a new one takes to be used.
        SeldomAsksForLanes,
        /// The lanes of a final jeu are not followed to the end of its result, which it lacks when it is reopened.
        FollowsNoFinal,
        /// A reading of the phase alone, begun before the notes were read, makes numbers look fresh.
        FollowsBeforeLoading,
        // Phases, close, reopening
        /// A rank that was read is acted on, although it may be on one replica only.
        RankNotConfirmed,
        /// A closer reads at once.
        NoCloseWait,
        /// A closer counts its wait from the moment it asks for the phase.
        CloseWaitFromRequest,
        /// The wait of a closing counts from the closing of an epoch before.
        KeepsOldClosingTime,
        /// The finaliser reads only lanes of which something is materialised.
        FinaliserSkipsNewLanes,
        /// The finaliser counts a chunk that may be on one replica only.
        FinaliserLeavesTips,
        /// The finaliser writes `notes` before it is known whose result stands.
        NotesBeforeResult,
        /// The phase is final before the result is stored.
        FinalBeforeResult,
        /// A pod that reads that the phase is final shows its own numbers until it has the result.
        FinalWithoutResult,
        /// A later result replaces the first.
        LastResultStands,
        /// Nobody takes over a closing.
        NoTakeover,
        /// A closing jeu can be reopened.
        ReopensWhileClosing,
        // Dead writers
        /// Nobody materialises the lanes of a dead writer.
        NoAdoption,
        /// A heartbeat that differs from the one read before is news, although it may be an older one.
        AnyBeatIsNews,
        /// The lanes of a dead writer are called materialised, and that is all.
        AdoptsWithoutNotes,
        /// A map loses an entry now and then, for the alarm to notice.
        LosesEntries,
        // The store's statements
        /// A write is done when one replica has it.
        WritesAtOne,
        /// A reading asks one replica.
        ReadsAtOne,
        /// Ranks carry the pod's clock as their timestamp.
        RankByClock,
        /// Rows of `notes` carry the pod's clock as their timestamp.
        NotesByClock,
        ];
        /// Those that take lives that end and open again to notice.
        OF_CONDUCTOR: [
        /// A task that follows another one of its item in the same incarnation goes on in its lane.
        ReusesLane,
        /// So does it here, and a store takes other bytes under a known number for the same again.
        AcceptsOtherBytes,
        /// A result that lacks what was acknowledged here raises no alarm.
        SilentOnMissingVotes,
        /// A live that retires takes every other closed live of its channel with it, newer ones and those that can be
        /// opened again.
        ForgetsNewerLives,
        /// A live retires when its window is over by the local clock, whatever its record says.
        RetiresByClock,
        /// A channel is freed from a live whose end is just being taken back.
        FreesWhatIsTakenBack,
        /// Of the jeux that were just opened, only the first is looked for in the programme.
        ShowsTheFirstOnly,
        /// A pod keeps the results of a live that it knew to be over, although the live was on air again.
        KeepsOldResults,
        /// A change of a live ends with the request that asked for it.
        EndsWithTheRequest,
        /// A pod lets the task of a jeu go that was opened since its result was made.
        RetiresWhatIsOpen,
        ];
    }

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    /// Once in a while, and in each run at the same times.
    pub(crate) fn now_and_then() -> bool {
        ASKED.set(ASKED.get() + 1);
        ASKED.get().is_multiple_of(64)
    }

    /// Whether this thread runs without that rule.
    pub(crate) fn is_active(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }

    /// Runs something without a rule.
    pub(crate) fn with_mutant<T>(mutant: Option<Mutant>, work: impl FnOnce() -> T) -> T {
        let before = ACTIVE.replace(mutant);
        if before.is_none() {
            ASKED.set(0);
        }
        let result = work();
        ACTIVE.set(before);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Mutant;

    #[test]
    fn every_mutant_has_a_name_of_its_own_and_says_what_it_does() {
        let all: Vec<_> = Mutant::ALL.iter().chain(Mutant::OF_CONDUCTOR).collect();
        let names: BTreeSet<_> = all.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|mutant| !mutant.text().is_empty()));
    }
}
