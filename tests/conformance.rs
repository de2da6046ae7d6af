//! What every provider has to be able to do, told as one story and run unchanged against each: the file says something, an
//! apply has something to do, the next one has nothing. A bench is a provider with something to try it on; what it
//! cannot do is data, and the story leaves that out.

mod binary;
mod cloud;

use std::collections::BTreeSet;

/// What a provider can do beyond the least.
#[derive(Clone, Copy, Debug, Default)]
pub struct Powers {
    /// Give an agent more to run on, and keep what it knows.
    pub resizes: bool,
    /// Have names lead to agents.
    pub has_names: bool,
    /// Stop looking after the place itself, and leave it as it was found.
    pub leaves: bool,
}

/// What the file says.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub agents: Vec<Agent>,
    /// Whether the place itself is to be left.
    pub is_leaving: bool,
}

/// What the file says of an agent.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    pub id: &'static str,
    /// The key of its table.
    pub table: &'static str,
    pub is_large: bool,
    pub has_name: bool,
    /// A variable, which a new gateway takes up.
    pub zone: &'static str,
}

/// What a plan shows: the resources, by what would be done to them.
#[derive(Debug, Default)]
pub struct Shown {
    pub changes: BTreeSet<String>,
    pub held: BTreeSet<String>,
    /// Places that could not be read whole.
    pub unseen: BTreeSet<String>,
}

/// A provider, and something to try it on.
pub trait Bench {
    /// Returns what it is called in the story.
    fn name(&self) -> &'static str;
    /// Returns what it can do.
    fn powers(&self) -> Powers;
    /// Has the file say something.
    fn says(&mut self, wish: &Wish);
    /// Plans. The data of these agents may be lost.
    fn plan(&mut self, may_go: &[&str]) -> Shown;
    /// Plans and applies. Returns what a failed step says.
    fn apply(&mut self, may_go: &[&str]) -> Result<(), String>;
    /// Does to an agent by hand what claw has to put right.
    fn harm(&mut self, agent: &str);
    /// Puts something without our mark where a new agent would be.
    fn squat(&mut self, agent: &str);
    /// Takes it away again.
    fn vacate(&mut self, agent: &str);
    /// Returns the names of everything with our mark.
    fn ours(&mut self) -> Vec<String>;
    /// Returns what others have there, as it stands.
    fn others(&mut self) -> String;
    /// Returns what tells the thing that holds an agent's data from a new one in its place.
    fn home(&mut self, agent: &str) -> String;
}

const ANN: Agent = Agent { id: "ann", table: "ann", is_large: false, has_name: false, zone: "UTC" };
const BOB: Agent = Agent { id: "bob", table: "bob", ..ANN };

/// Tells the story. Every chapter says what is so after it.
#[track_caller]
fn conforms(bench: &mut dyn Bench) {
    let others = bench.others();
    let powers = bench.powers();
    let mut tale = Tale { bench, wish: Wish::default(), others, chapter: "" };

    tale.chapter("an agent is made, and then there is nothing to do");
    tale.says(|wish| wish.agents = vec![ANN]);
    tale.expects_changes(&[]);
    let home = tale.bench.home("ann");

    tale.chapter("a second one is made beside it, which is left alone");
    tale.says(|wish| wish.agents.push(BOB));
    let shown = tale.expects_changes(&[]);
    assert!(shown.changes.iter().all(|change| !change.contains("/ann")), "{shown:#?}");
    let one_and_two = tale.bench.ours();

    tale.chapter("a change to the first is made, and its data stays");
    tale.says(|wish| wish.agents[0].zone = "Europe/Prague");
    let shown = tale.expects_changes(&[]);
    assert!(shown.changes.iter().all(|change| !change.contains("/bob")), "{shown:#?}");
    assert_eq!(tale.bench.home("ann"), home);

    if powers.resizes {
        tale.chapter("it gets more to run on, and its data stays");
        tale.says(|wish| wish.agents[0].is_large = true);
        tale.expects_changes(&[]);
        assert_eq!(tale.bench.home("ann"), home);
    }

    tale.chapter("its table is renamed and its id kept: it hears its new name, and all else stays");
    tale.says(|wish| wish.agents[0].table = "anna");
    let shown = tale.expects_changes(&[]);
    assert_eq!(shown.changes, BTreeSet::from(["update config/ann".to_owned()]));
    assert_eq!((tale.bench.home("ann"), tale.bench.ours()), (home.clone(), one_and_two.clone()));

    if powers.has_names {
        tale.chapter("it gets a name");
        tale.says(|wish| wish.agents[0].has_name = true);
        let shown = tale.expects_changes(&[]);
        assert!(shown.changes.iter().all(|change| change.starts_with("create dns/")), "{shown:#?}");
        tale.chapter("and loses it");
        tale.says(|wish| wish.agents[0].has_name = false);
        let shown = tale.expects_changes(&[]);
        assert!(shown.changes.iter().all(|change| change.starts_with("delete dns/")), "{shown:#?}");
    }

    tale.chapter("what somebody did by hand is put right");
    tale.bench.harm("ann");
    let shown = tale.expects_changes(&[]);
    assert!(shown.changes.iter().any(|change| change.contains("ann")), "{shown:#?}");
    assert_eq!((tale.bench.home("ann"), tale.bench.ours()), (home.clone(), one_and_two.clone()));

    tale.chapter("an agent that is not wanted any more stays while its data may not be lost");
    tale.says(|wish| wish.agents.truncate(1));
    tale.expects_held();
    assert_eq!(tale.bench.ours(), one_and_two);

    tale.chapter("and goes when it may");
    let shown = tale.expects_changes(&["bob"]);
    assert!(shown.changes.iter().all(|change| change.starts_with("delete ")), "{shown:#?}");
    assert!(tale.bench.ours().iter().all(|name| !name.contains("bob")), "{:?}", tale.bench.ours());
    assert_eq!(tale.bench.home("ann"), home);

    tale.chapter("where something without our mark stands, nothing is made and that thing is left alone");
    tale.bench.squat("bob");
    let strangers = tale.bench.others();
    assert_ne!(strangers, tale.others, "somebody is there");
    tale.others = strangers;
    tale.says(|wish| wish.agents.push(BOB));
    tale.expects_held();

    tale.chapter("once it is gone, the agent is made");
    tale.bench.vacate("bob");
    tale.others = tale.bench.others();
    tale.expects_changes(&[]);
    assert_eq!(tale.bench.ours(), one_and_two);

    tale.chapter("one after the other goes, and nothing is left");
    tale.says(|wish| wish.agents.retain(|agent| agent.id != "ann"));
    tale.expects_held();
    tale.expects_changes(&["ann"]);
    tale.says(|wish| wish.agents.clear());
    tale.expects_held();
    tale.expects_changes(&["bob"]);
    if powers.leaves {
        tale.chapter("the place is left as it was found");
        tale.says(|wish| wish.is_leaving = true);
        tale.expects_changes(&[]);
    }
    assert_eq!(tale.bench.ours(), [""; 0]);
}

/// The story on its way.
struct Tale<'a> {
    bench: &'a mut dyn Bench,
    wish: Wish,
    /// What others have, which is to stay.
    others: String,
    chapter: &'static str,
}

impl Tale<'_> {
    fn chapter(&mut self, words: &'static str) {
        eprintln!("{}: {words}", self.bench.name());
        self.chapter = words;
    }

    fn says(&mut self, change: impl FnOnce(&mut Wish)) {
        change(&mut self.wish);
        self.bench.says(&self.wish);
    }

    /// There is something to do and nothing held; it is done; then there is nothing to do.
    #[track_caller]
    fn expects_changes(&mut self, may_go: &[&str]) -> Shown {
        let shown = self.bench.plan(may_go);
        let is_sound = !shown.changes.is_empty() && shown.held.is_empty() && shown.unseen.is_empty();
        assert!(is_sound, "{}: {shown:#?}", self.chapter);
        if let Err(why) = self.bench.apply(may_go) {
            panic!("{}: {why}", self.chapter);
        }
        self.expects_none();
        shown
    }

    /// There is nothing to do, and an apply does nothing.
    #[track_caller]
    fn expects_none(&mut self) {
        let before = self.bench.ours();
        for _ in 0..2 {
            let shown = self.bench.plan(&[]);
            let is_empty = shown.changes.is_empty() && shown.held.is_empty() && shown.unseen.is_empty();
            assert!(is_empty, "{}: there is still to do: {shown:#?}", self.chapter);
            self.bench.apply(&[]).unwrap();
        }
        assert_eq!(self.bench.ours(), before, "{}", self.chapter);
        self.nobody_is_touched();
    }

    /// Something is held, and stays so through an apply.
    #[track_caller]
    fn expects_held(&mut self) {
        assert!(!self.bench.plan(&[]).held.is_empty(), "{}", self.chapter);
        self.bench.apply(&[]).unwrap();
        let shown = self.bench.plan(&[]);
        assert!(!shown.held.is_empty() && shown.changes.is_empty(), "{}: {shown:#?}", self.chapter);
        self.nobody_is_touched();
    }

    #[track_caller]
    fn nobody_is_touched(&mut self) {
        assert_eq!(self.bench.others(), self.others, "{}", self.chapter);
    }
}
