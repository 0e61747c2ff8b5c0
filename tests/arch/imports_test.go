package arch

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// may is what a package may import beyond the standard library, and why.
type may struct{ what, why string }

// NATS by its own names.
const (
	natsGo     = "github.com/nats-io/nats.go"
	natsServer = "github.com/nats-io/nats-server/v2/server"
	jetStream  = "github.com/nats-io/nats.go/jetstream"
	natsMicro  = "github.com/nats-io/nats.go/micro"
)

// graph is the whole import graph, bottom up. A line that is no longer used
// has to go: the table says what is, not what might be.
//
// The directions in one breath: policy knows nothing; the machine knows policy;
// what lies below manager knows the machine and never NATS; bus and kv know
// NATS and the words of the core, and not each other; manager alone puts them
// together; cmd makes a program of it.
var graph = map[string][]may{
	"policy/node": {},
	"policy":      {{"policy/node", "specifications and records name nodes"}},
	"policy/audit": {
		{"policy", "claims, sessions and epochs are its words"},
		{"policy/node", "names"},
	},
	"policy/erlterm": {},
	"policy/specjson": {
		{"policy", "what it reads and writes are specs"},
		{"policy/node", "their lists name nodes"},
	},
	"policy/config": {
		{"policy", "what a configuration says is a list of specs"},
		{"policy/node", "its lists name nodes"},
		{"policy/erlterm", "one of its two syntaxes"},
		{"github.com/goccy/go-yaml", "the other: YAML with positions"},
		{"github.com/goccy/go-yaml/ast", "positions"},
		{"github.com/goccy/go-yaml/parser", "positions"},
		{"github.com/goccy/go-yaml/token", "positions"},
	},

	"manager/machine": {
		{"policy", "the rules it applies over time"},
		{"policy/node", "members are nodes"},
	},
	"manager/machine/machinetest": {
		{"manager/machine", "whole clusters of it in virtual time"},
		{"policy", "the store holds its records"},
		{"policy/node", "names"},
	},
	"manager/app": {
		{"policy", "a start says app, session, epoch and kind"},
		{"policy/node", "and where it comes from"},
	},
	"manager/samehost": {
		{"policy", "proofs are about session records"},
		{"golang.org/x/sys/unix", "pidfd and the clock since boot"},
	},
	"manager/osproc": {
		{"manager/app", "it is a runner of apps"},
		{"manager/samehost", "every process group is entered in its list before exec"},
		{"policy", "app names"},
		{"golang.org/x/sys/unix", "death signal of the parent, wait without reaping"},
	},
	"manager/warden/vigil": {
		{"policy", "a certificate is a write of a session record"},
		{"policy/node", "whose vigil it is"},
	},
	"manager/warden": {
		{"manager/warden/vigil", "what it decides"},
		{"manager/samehost", "what it kills are process groups, and it must be certain that they are gone"},
		{"manager/lastresort", "the kernel ends a warden that stands still"},
		{"policy", "nonces and app names"},
		{"policy/node", "whose warden it is"},
		{"golang.org/x/sys/unix", "pidfd, timerfd, socketpair"},
	},
	"manager/lastresort": {
		{"golang.org/x/sys/unix", "kernel timers"},
	},
	"manager/agent": {
		{"manager/machine", "its loop owns the machine"},
		{"manager/app", "the port to runners"},
		{"policy", "cells and views pass through it"},
		{"policy/node", "names"},
		{"github.com/google/uuid", "fresh identifiers for the machine"},
	},
	"manager/metrics": {
		{"manager/machine", "it counts lines of history and shows the status"},
		{"policy", "outcomes of writes"},
		{"policy/node", "names"},
		{"github.com/prometheus/client_golang/prometheus", "counters, histograms and their registry"},
		{"github.com/prometheus/client_golang/prometheus/collectors", "what every Go program shows"},
		{"github.com/prometheus/client_golang/prometheus/promhttp", "the text format, as scrapers ask for it"},
	},
	"manager/proc": {
		{"policy/node", "PIDs hold the name of a node"},
	},
	"manager/status": {
		{"manager/machine", "it renders the machine's status"},
		{"policy", "names"},
		{"policy/node", "names"},
	},

	"bus/cred": {
		{natsGo, "credentials are options of its connections"},
		{"github.com/nats-io/jwt/v2", "operator and account tokens"},
		{"github.com/nats-io/nkeys", "keys"},
		{"golang.org/x/crypto/argon2", "stretches the cookie"},
	},
	"bus/wire": {
		{"manager/machine", "the heartbeat is its type; the codec stays at the edge"},
		{"policy", "fields of heartbeats"},
		{"policy/node", "names"},
	},
	"bus": {
		{natsGo, "it is the adapter of core NATS"},
		{"bus/wire", "the form of heartbeats"},
		{"manager/machine", "message types"},
		{"policy", "nonces, and the apps whose subjects they are"},
		{"policy/node", "subjects name nodes"},
	},
	"bus/service": {
		{natsGo, "requests"},
		{natsMicro, "it is a NATS micro service, and its client"},
		{"bus", "subjects"},
		{"manager/machine", "refusals"},
		{"policy", "names and types in requests"},
		{"policy/node", "names"},
		{"policy/specjson", "specifications in requests"},
	},
	"kv": {
		{natsGo, "it is the adapter of JetStream"},
		{jetStream, "types of its API"},
		{"policy", "cells, writes and outcomes"},
		{"policy/specjson", "the specification in the bucket"},
		{"policy/node", "keys are tokens of names"},
		{"github.com/google/uuid", "the random half of a bucket's identity"},
	},
	"kv/kvtest": {
		{"policy", "a store in memory speaks in cells"},
		{"policy/node", "names"},
	},
	"embedded": {
		{natsServer, "the only package that runs a server"},
		{natsGo, "options of connections inside the process"},
		{"bus/cred", "who may connect"},
		{"github.com/nats-io/jwt/v2", "the operator that the server trusts"},
	},
	"embedded/embeddedtest/port": {
		{"golang.org/x/sys/unix", "locks that end with their process"},
	},
	"embedded/embeddedtest": {
		{"embedded/embeddedtest/port", "where they listen"},
		{natsGo, "clients of the servers under test"},
		{jetStream, "streams on them"},
		{"embedded", "what it starts"},
		{"bus/cred", "a cookie for it"},
		{"go.uber.org/goleak", "every server must end whole"},
	},

	"manager": {
		{"bus", "wiring: heartbeats and connection"},
		{"bus/cred", "wiring: cookie to credentials"},
		{"bus/service", "wiring: commands from outside"},
		{"kv", "wiring: bucket and history"},
		{"embedded", "wiring: the server of a voter"},
		{"manager/agent", "wiring: the loop"},
		{"manager/lastresort", "wiring: the kernel ends a process that stands still"},
		{"manager/app", "wiring: apps in Go; its types are part of the Go API"},
		{"manager/machine", "commands and configuration of the machine"},
		{"manager/metrics", "wiring: what happens is counted"},
		{"manager/osproc", "wiring: apps that are processes"},
		{"manager/proc", "wiring: messages; its functions are part of the options"},
		{"manager/samehost", "wiring: proofs by inspection"},
		{"manager/warden", "wiring: the second process, and its way to the records"},
		{"manager/warden/vigil", "what a certificate is"},
		{"manager/status", "the status document"},
		{"policy", "names and types of the Go API"},
		{"policy/config", "what is configured"},
		{"policy/specjson", "specifications that come at run time are checked"},
		{"policy/node", "names"},
		{natsGo, "hands the bus's connection to the bucket"},
		{"github.com/google/uuid", "the nonce of the process"},
	},

	"cmd/regent/nodefile": {
		{"policy/node", "names"},
		{"manager/samehost", "whether the process that wrote it is still there"},
	},
	"cmd/regent/demo": {
		{natsGo, "looks at the records from outside, as any client"},
		{jetStream, "likewise"},
		{"bus", "subjects"},
		{"bus/cred", "a cookie of its own"},
		{"bus/service", "gives commands, as the command line does"},
		{"examples/classic", "the three files, unchanged"},
		{"manager/machine", "states of the status document"},
		{"manager/samehost", "that nothing it started is left"},
		{"manager/status", "what nodes say of themselves"},
		{"policy/erlterm", "writes the second configuration file"},
		{"policy/node", "names"},
	},
	"cmd/regent/doctor": {
		{"kv", "looks at the bucket"},
		{natsGo, "tries each right on a connection"},
		{"bus", "the kinds of subjects"},
		{"bus/cred", "which rights are needed"},
		{"manager/machine", "states of the status document"},
		{"manager/status", "what nodes say of themselves"},
		{"manager/warden", "whether it can put apps in cgroups"},
		{"policy/config", "what is configured"},
		{"policy/node", "names"},
		{"golang.org/x/sys/unix", "the clock's rate, and free space"},
	},
	"cmd/regent": {
		{"cmd/regent/doctor", "the checks of doctor"},
		{"bus", "client commands connect"},
		{"bus/cred", "with the cookie's credentials"},
		{"bus/service", "ask its nodes"},
		{"kv", "read the history"},
		{"cmd/regent/nodefile", "and find a node of this machine"},
		{"cmd/regent/demo", "the demo"},
		{"manager", "node and erl run one"},
		{"manager/proc", "commands that exchange messages are nodes for a moment"},
		{"manager/machine", "commands and refusals"},
		{"manager/status", "print what a node says"},
		{"policy", "names and types on the command line"},
		{"policy/audit", "verify"},
		{"policy/config", "config check"},
		{"policy/specjson", "config apply"},
		{"policy/erlterm", "-eval is Erlang"},
		{"policy/node", "names"},
		{natsGo, "client connections"},
		{"github.com/google/uuid", "the life of a client that exchanges messages"},
		{"golang.org/x/term", "remsh: editing, history and completion at a terminal"},
		{"github.com/spf13/cobra", "command line, help, completion"},
		{"github.com/spf13/pflag", "flags that repeat"},
		{"github.com/synadia-io/orbit.go/natscontext", "contexts of the nats CLI"},
	},

	"tests/sim/checkers": {
		{"manager/machine", "traces are its actions"},
		{"policy", "and its records"},
		{"policy/node", "names"},
	},
	"tests/sim": {
		{"manager/machine", "the only real thing in a simulation, beside"},
		{"manager/warden/vigil", "what wardens decide"},
		{"policy", "records"},
		{"policy/audit", "what the ledger of a life shows"},
		{"policy/node", "names"},
		{"tests/sim/checkers", "what must hold"},
	},
	"tests/arch": {},
}

// testMay are the libraries that tests add.
var testMay = []may{
	{"github.com/cockroachdb/datadriven", "golden scenarios"},
	{"github.com/rogpeppe/go-internal/testscript", "command line tests"},
	{"github.com/anishathalye/porcupine", "linearizability"},
	{"pgregory.net/rapid", "properties"},
	{"go.uber.org/goleak", "nothing is left behind"},
	{"kv/kvtest", "a store in memory, which imports no NATS"},
	{"embedded/embeddedtest/port", "ports to listen on, which no other test has"},
	{"github.com/prometheus/client_golang/prometheus/testutil", "metrics as text"},
}

// beyond are packages without a line in graph: they may import everything that
// others may, except that only tests import tests.
var beyond = []string{"tests/", "examples/"}

func isBeyond(pkg string) bool {
	return slices.ContainsFunc(beyond, func(prefix string) bool { return strings.HasPrefix(pkg, prefix) })
}

// local turns a package of this module into its path below the root.
func local(imported string) (string, bool) {
	return strings.CutPrefix(imported, module+"/")
}

// standard reports whether a path is of the standard library.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// TestImports checks every import of every file that is no test against graph.
func TestImports(t *testing.T) {
	r := loaded(t)
	used := map[string]bool{}
	var unruled []string
	for _, f := range r.files {
		rules, ruled := graph[f.pkg]
		switch {
		case f.test:
			continue
		case !ruled && !isBeyond(f.pkg):
			unruled = append(unruled, f.pkg)
			continue
		}
		for _, imported := range f.imports() {
			what, _ := local(imported)
			if standard(imported) {
				continue
			}
			used[f.pkg+" "+what] = true
			if ruled && !slices.ContainsFunc(rules, func(m may) bool { return m.what == what }) {
				t.Errorf("%s imports %s, which %s may not; it may import %s", f.path, imported, f.pkg, names(rules))
			}
		}
	}
	for _, pkg := range slices.Compact(unruled) {
		t.Errorf("package %s has no line in graph: say what it may import, and why", pkg)
	}
	for pkg, rules := range graph {
		for _, m := range rules {
			if !used[pkg+" "+m.what] {
				t.Errorf("graph lets %s import %s (%s), which it no longer does", pkg, m.what, m.why)
			}
		}
	}
}

func names(rules []may) string {
	var names []string
	for _, m := range rules {
		names = append(names, m.what)
	}
	return strings.Join(names, ", ")
}

// TestTestImports: a test may use what its package may, the package itself and
// its rig, and the libraries for tests. Tests of what speaks NATS may run a
// server; tests of the core may not, so that the core is tested without.
func TestTestImports(t *testing.T) {
	for _, f := range loaded(t).files {
		if !f.test || isBeyond(f.pkg) {
			continue
		}
		rules := slices.Concat(graph[f.pkg], testMay)
		if slices.ContainsFunc(rules, func(m may) bool { return m.what == natsGo }) {
			rules = append(rules, may{natsServer, "a real server"}, may{jetStream, "what it stores"}, may{"github.com/nats-io/nkeys", "keys of its users"}, may{"examples/classic", "the files that everybody knows"})
		}
		for _, imported := range f.imports() {
			what, _ := local(imported)
			ownRig := what == f.pkg || path.Base(what) == path.Base(f.pkg)+"test" || what+"/"+path.Base(f.pkg) == f.pkg
			if !standard(imported) && !ownRig && !slices.ContainsFunc(rules, func(m may) bool { return m.what == what }) {
				t.Errorf("%s imports %s, which tests of %s may not", f.path, imported, f.pkg)
			}
		}
	}
}

// never are the directions that no line of graph may ever open, whatever it
// says: they are the shape of the project.
var never = []struct{ from, to, why string }{
	{"policy", "manager", "the rules don't know who applies them"},
	{"policy", "bus", "the core builds without NATS"},
	{"policy", "kv", "the core builds without NATS"},
	{"manager/", "bus", "what lies below manager declares its ports and knows no adapter"},
	{"manager/", "kv", "what lies below manager declares its ports and knows no adapter"},
	{"manager/", "embedded", "what lies below manager declares its ports and knows no adapter"},
	{"manager/", natsGo, "the core is tested and simulated without NATS"},
	{"bus", "kv", "the two adapters meet in manager"},
	{"kv", "bus", "the two adapters meet in manager"},
	{"embedded", "kv", "it runs servers, whoever uses them"},
}

// TestDirections checks graph itself, so that a new line can't bend the shape.
func TestDirections(t *testing.T) {
	for pkg, rules := range graph {
		for _, m := range rules {
			if m.why == "" {
				t.Errorf("%s may import %s for no reason", pkg, m.what)
			}
			for _, n := range never {
				if below(pkg, n.from) && below(m.what, n.to) {
					t.Errorf("%s may not import %s: %s", pkg, m.what, n.why)
				}
			}
			switch {
			case m.what == natsServer && pkg != "embedded":
				t.Errorf("%s runs a NATS server: only embedded does", pkg)
			case strings.HasPrefix(m.what, "tests/") && !strings.HasPrefix(pkg, "tests/") && !strings.HasPrefix(pkg, "cmd/"):
				t.Errorf("%s imports %s: only tests and cmd import tests", pkg, m.what)
			case m.what == "manager" && !strings.HasPrefix(pkg, "cmd/") && !isBeyond(pkg):
				t.Errorf("%s imports manager, which puts everything together: only programs do", pkg)
			}
		}
	}
}

// below reports whether pkg is tree or lies in it; a tree with a final slash
// does not contain its own root.
func below(pkg, tree string) bool {
	return pkg == tree || strings.HasPrefix(pkg, strings.TrimSuffix(tree, "/")+"/")
}
