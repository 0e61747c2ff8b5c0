package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/machine/machinetest"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// Virtual is the engine of the pure machine in virtual time.
type Virtual struct{ T testing.TB }

// Name implements Engine.
func (Virtual) Name() string { return "machine" }

// Side implements Engine.
func (Virtual) Side() string { return Regent }

// Begin implements Engine.
func (v Virtual) Begin(s *Scenario) (World, error) {
	w := &virtual{s: s, calls: map[int]Statement{}}
	var names []node.Name
	for _, n := range s.Nodes {
		names = append(names, full(n))
	}
	var apps []machine.AppConfig
	if c, err := w.load(s.Nodes[0]); err == nil {
		apps = appsOf(c)
	}
	w.w = machinetest.NewWorld(v.T, names, apps, w.configure, w.see)
	if s.Servers {
		w.w.Embed()
	}
	return w, nil
}

type virtual struct {
	s      *Scenario
	w      *machinetest.World
	events []Event
	alone  bool // the next node to boot is the first of the cluster, and no other comes
	booted bool
	calls  map[int]Statement
}

func full(n string) node.Name { return node.Name(n + "@h") }

// load reads the configuration of a node as a node does.
func (w *virtual) load(n string) (*config.Config, error) {
	return config.Load(func(string) ([]byte, error) { return []byte(Config(w.s, n)), nil }, "scenario.yaml")
}

// appsOf is what the machine is told of the apps.
func appsOf(c *config.Config) (out []machine.AppConfig) {
	for _, a := range c.Apps {
		spec, _ := c.Spec(a.Name)
		denied := slices.ContainsFunc(c.Permissions, func(p config.Permission) bool { return p.App == a.Name && !p.Permitted })
		out = append(out, machine.AppConfig{App: a.Name, Spec: spec, Defined: true, Type: a.Type, Denied: denied})
	}
	return out
}

func (w *virtual) configure(cfg *machine.Config) {
	c, err := w.load(cfg.Self.Base())
	if err != nil {
		panic(err) // such a node is not booted
	}
	cfg.Specification = applied(c.Specs)
	cfg.Apps, cfg.Digest, cfg.NewCluster = appsOf(c), cfg.Specification.Digest, w.alone
	cfg.Sync = machine.Sync{Mandatory: c.Sync.Mandatory, Optional: c.Sync.Optional, Timeout: c.Sync.Timeout, Defined: c.Sync.Defined}
	cfg.FirstBoot = c.Nodes()
}

func applied(specs []policy.Spec) *policy.SpecRecord {
	return &policy.SpecRecord{Digest: policy.Digest("default", nil, specs), Specs: specs}
}

// Do implements World.
func (w *virtual) Do(st Statement) error {
	w.alone = st.Verb == Up && !w.booted && len(st.Nodes) == 1 && w.s.Barrier == nil
	for _, n := range st.Nodes {
		app := policy.App(st.App)
		switch st.Verb {
		case Up:
			if _, err := w.load(n); err != nil {
				w.events = append(w.events, Event{At: w.Now(), Kind: NodeEnds, Node: n, Word: ExitConfig})
				continue
			}
			w.booted = true
			w.w.Boot(n)
		case Kill:
			w.w.Kill(n)
		case Down:
			w.w.Command(n, machine.Command{ID: shutdownCall, Verb: machine.VerbShutdown})
		case Cut:
			w.w.Cut(n)
		case Heal:
			w.w.Heal(n)
		case Freeze:
			w.w.Freeze(n)
		case Thaw:
			w.w.Thaw(n)
		case Unlink: // nodes of regent are linked to the store, not to one another
		case ExitApp:
			w.w.End(n, app, st.Word == "normal")
		case Fail, Mend:
			w.w.Fail(n, app, st.Verb == Fail)
		case Slow:
			if st.Word == "start" {
				w.w.SlowStart(n, app, st.Time)
			} else {
				w.w.SlowStop(n, app, st.Time)
			}
		default:
			return fmt.Errorf("can't %s", st.Verb)
		}
	}
	return nil
}

// Call implements World.
func (w *virtual) Call(number int, st Statement, n string) error {
	w.calls[number] = st
	cmd := machine.Command{ID: machine.CallID(number), Verb: machine.Verb(st.Verb), App: policy.App(st.App), Permitted: st.Word == "true"}
	switch st.Verb {
	case Start, Takeover:
		cmd.Type = policy.RestartType(st.Word)
	case LoadApp, Apply:
		c, err := w.load(n)
		if err != nil {
			return err
		}
		spec := c.Distribute(cmd.App, policy.Timeout(st.Spec.Timeout), st.Spec.fullGroups())
		if cmd.Spec = &spec; st.Verb == Apply {
			cmd.Verb, cmd.Spec, cmd.Apply = machine.VerbConfig, nil, applied(policy.PutSpec(slices.Clone(c.Specs), spec))
		}
	}
	w.w.Command(n, cmd)
	return nil
}

// fullGroups is the list with the names that nodes have.
func (a App) fullGroups() (groups [][]node.Name) {
	for _, g := range a.Groups {
		var group []node.Name
		for _, n := range g {
			group = append(group, full(n))
		}
		groups = append(groups, group)
	}
	return groups
}

var virtualExits = map[int]string{0: ExitNormal, 2: ExitConfig, 3: ExitSync, 6: ExitDigest, 7: ExitTaken, 8: ExitByApp}

func (w *virtual) see(s machinetest.Seen) {
	kinds := map[machinetest.SeenKind]EventKind{
		machinetest.SeenUp: NodeUp, machinetest.SeenExit: NodeEnds, machinetest.SeenKilled: NodeEnds, machinetest.SeenFenced: NodeEnds, machinetest.SeenStart: AppStart,
		machinetest.SeenPhase: AppPhase, machinetest.SeenStarted: AppStarted, machinetest.SeenFailed: AppFailed, machinetest.SeenStop: AppPrep, machinetest.SeenGone: AppEnds, machinetest.SeenReply: Reply,
	}
	e := Event{At: w.Now(), Kind: kinds[s.What], Node: s.Node.Base(), App: string(s.App), Word: string(s.Kind)}
	if s.From != "" {
		e.From = s.From.Base()
	}
	switch s.What {
	case machinetest.SeenStop:
		if !slices.ContainsFunc(w.s.Apps, func(a App) bool { return a.Name == e.App && a.Prep }) {
			return
		}
	case machinetest.SeenPhase:
		e.Word = strings.Join(strings.Fields(s.Phase.String()+" "+e.Word+" "+e.From), " ")
		e.From = ""
	case machinetest.SeenKilled:
		e.Word = Killed
	case machinetest.SeenFenced:
		e.Word = ExitFenced
	case machinetest.SeenExit:
		e.Word = virtualExits[s.Code]
	case machinetest.SeenReply:
		if s.Call == shutdownCall {
			return
		}
		e.Call = int(s.Call)
		e.Word = OK
		if c := w.calls[e.Call]; s.Err != nil {
			e.Word = Term(s.Err, c.App, c.Word)
		}
	}
	w.events = append(w.events, e)
}

// shutdownCall is the number of commands whose answer nobody waits for.
const shutdownCall = 1 << 40

// Now implements World.
func (w *virtual) Now() time.Duration { return w.w.Now() }

// Pass implements World.
func (w *virtual) Pass(d time.Duration) error { w.w.Run(d); return nil }

// Events implements World.
func (w *virtual) Events() []Event {
	out := w.events
	w.events = nil
	return out
}

// Calm implements World.
func (w *virtual) Calm() time.Duration { return time.Second }

// Patience implements World.
func (w *virtual) Patience() time.Duration { return time.Minute }

// Close implements World.
func (w *virtual) Close() {}
