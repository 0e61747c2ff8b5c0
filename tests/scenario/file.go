package scenario

import (
	"slices"
	"time"
)

// Scenario is a parsed file.
type Scenario struct {
	Name    string // of the file, without its end
	Title   string // its first comment
	Rules   []string
	Nodes   []string
	Apps    []App
	Own     []OwnSpec // what single nodes are told instead
	Barrier *Barrier
	Overlap bool // Erlang keeps its default of dropping partial meshes
	Servers bool // regent's store is in the nodes, which are all voters
	Tick    int  // net_ticktime, seconds; 0: the default
	Steps   []Statement
}

// App is an app of the configuration.
type App struct {
	Name      string
	Groups    [][]string // nil: a local app
	Timeout   time.Duration
	Infinite  bool
	Exclusive bool     // takeovers are exclusive; else they overlap, as in OTP
	Phases    []string // its start phases; nil: it has none
	Parts     []string // apps that it includes
	Full      bool     // failovers are announced as such
	Prep      bool     // tells of its prep_stop
	Unloaded  bool     // nothing says where it runs until it is loaded: load/2
}

// OwnSpec is what one node is told of an app instead of what the others are.
type OwnSpec struct {
	Node   string
	App    App
	None   bool // it has no entry: the app is a local one
	Denied bool // the same, but the node may not run it
	// Barrier is its own; one without anything in it is none.
	Barrier *Barrier
}

// Barrier are the sync_nodes parameters of all nodes.
type Barrier struct {
	Set                 bool // there is a timeout
	Timeout             time.Duration
	Infinite            bool
	Mandatory, Optional []string
}

// AppsOf is the configuration of the apps as a node has it.
func (s *Scenario) AppsOf(node string) (apps []App, denied []string) {
	for _, a := range s.Apps {
		i := slices.IndexFunc(s.Own, func(o OwnSpec) bool { return o.Node == node && o.App.Name == a.Name })
		switch {
		case i < 0:
			apps = append(apps, a)
		case s.Own[i].Denied:
			apps, denied = append(apps, a), append(denied, a.Name)
		case s.Own[i].None: // it is a local app then
			apps = append(apps, App{Name: a.Name})
		default:
			apps = append(apps, s.Own[i].App)
		}
	}
	return apps, denied
}

// Whole is the app that an app is a part of, itself if it is none.
func (s *Scenario) Whole(name string) string {
	for _, a := range s.Apps {
		if slices.Contains(a.Parts, name) {
			return s.Whole(a.Name)
		}
	}
	return name
}

// BarrierOf is the barrier of a node; nil if the scenario says nothing of one.
func (s *Scenario) BarrierOf(node string) *Barrier {
	for _, o := range s.Own {
		if o.Node == node && o.Barrier != nil {
			return o.Barrier
		}
	}
	return s.Barrier
}

// Verb is what a statement does.
type Verb string

// The verbs.
const (
	Up       Verb = "up"       // nodes boot
	Kill     Verb = "kill"     // kill -9
	Down     Verb = "down"     // a graceful end
	Cut      Verb = "cut"      // off from everybody
	Heal     Verb = "heal"     // the end of that
	Unlink   Verb = "unlink"   // two nodes lose their connection to one another
	Freeze   Verb = "freeze"   // a process stands still, its connections stay
	Thaw     Verb = "thaw"     // the end of that
	Start    Verb = "start"    // application:start/2
	Stop     Verb = "stop"     // application:stop/1
	Takeover Verb = "takeover" // application:takeover/2
	Permit   Verb = "permit"   // application:permit/2
	LoadApp  Verb = "load"     // application:load/2
	Apply    Verb = "apply"    // another distributed at run time
	ExitApp  Verb = "exit"     // the app ends by itself
	Fail     Verb = "fail"     // its starts fail from now on
	Mend     Verb = "mend"     // they don't any more
	Slow     Verb = "slow"     // its start or stop takes time
	Wait     Verb = "wait"     // time passes
	Expect   Verb = "expect"
)

// Statement is one line.
type Statement struct {
	Pos    string // file:line
	Text   string
	Only   string // Erlang or Regent: the line is for that side alone
	Rule   string // why
	Verb   Verb
	App    string // with a * at the end: all whose names begin so
	Nodes  []string
	Spec   App           // of load and apply: where the app is to run; Word is the same for the nodes
	Word   string        // type of a start, true or false of a permit, normal or crash, start or stop
	Time   time.Duration // of wait and slow
	Result string        // of a call or a boot
	Fact   *Fact         // of expect
}

// The two sides that may differ.
const (
	Erlang = "erlang"
	Regent = "regent"
)

// Is it a call, which has a result?
func (s *Statement) call() bool {
	return slices.Contains([]Verb{Start, Stop, Takeover, Permit, LoadApp, Apply}, s.Verb)
}

// Results of calls that are no terms.
const (
	OK      = "ok"
	Blocked = "blocked" // has not returned
	Pending = "pending" // nobody asks yet
	Waits   = "waits"   // of a boot: in the barrier
)

// FactKind is what can be expected.
type FactKind string

// The kinds of facts.
const (
	Runs    FactKind = "runs"    // the nodes where instances of an app are
	Started FactKind = "started" // how its last instance was started, and where
	Count   FactKind = "count"   // how many instances of apps there are, in all or on a node
	NodeIs  FactKind = "node"    // up, or how it ended
	Returns FactKind = "returns" // the result of an earlier call
	Saw     FactKind = "saw"     // what happened to an app since the last statement, in order
)

// Fact is something that can be expected.
type Fact struct {
	Kind  FactKind
	App   string
	Node  string
	Verb  Verb // of Returns
	Value string
	// Of Started: how long after what happened last, at least and at most.
	After, Within time.Duration
}

// subject is what the fact is about: two facts about one subject with
// different values can't both be true.
func (f Fact) subject() string {
	return string(f.Kind) + " " + string(f.Verb) + " " + f.App + " " + f.Node
}
