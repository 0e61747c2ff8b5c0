package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// files is a Reader of what stands in a map.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	src, ok := f[name]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return []byte(src), nil
}

// TestGolden runs the files in testdata. A command is
//
//	file name=NAME     stores the input as a file
//	load NAME...       loads files, and forgets all; prints errors, or warnings and the configuration
//	error NAME         stores the input as NAME and loads it; prints errors
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		stored := files{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var names []string
			for _, arg := range d.CmdArgs {
				names = append(names, arg.Key)
			}
			switch d.Cmd {
			case "file":
				stored[names[0]] = d.Input + "\n"
				return ""
			case "load":
				defer clear(stored)
				return report(stored, names, true)
			case "error":
				return report(files{names[0]: d.Input + "\n"}, names, false)
			}
			d.Fatalf(t, "unknown command")
			return ""
		})
	})
}

func report(stored files, names []string, print bool) string {
	c, err := Load(stored.read, names...)
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, w := range c.Warnings {
		b.WriteString("warning " + Diagnostics{w}.Error() + "\n")
	}
	if print {
		b.WriteString(c.Erlang())
	}
	if b.Len() == 0 {
		return "no error\n"
	}
	return b.String()
}

func mustLoad(t *testing.T, stored files, names ...string) *Config {
	t.Helper()
	c, err := Load(stored.read, names...)
	if err != nil {
		t.Fatalf("load %v: %v", names, err)
	}
	return c
}

// same compares two configurations, except where things were said.
func same(a, b *Config) bool {
	x, y := *a, *b
	x.at, y.at, x.Warnings, y.Warnings = positions{}, positions{}, nil, nil
	return reflect.DeepEqual(x, y)
}

const rich = `
[{kernel,
  [{distributed, [{myapp, 5000, ['node1@lxw', {'node2@lxw', 'node3@lxw'}]}, {other, ["node1@lxw"]}, {never, infinity, [<<"node2@lxw">>]}]},
   {sync_nodes_mandatory, ['node2@lxw', 'node3@lxw']},
   {sync_nodes_optional, ['node4@other']},
   {sync_nodes_timeout, infinity},
   {permissions, [{myapp, true}, {other, false}]},
   {net_ticktime, 60},
   {logger_level, info}]},
 {regent,
  [{hosts, [{lxw, "127.0.0.1"}, {other, <<"::1">>}]},
   {ports, [{client, 14222}, {cluster, 16222}]},
   {addresses, [{node4@other, [{client, "10.0.0.1:4222"}]}]},
   {lease, 3000}, {kv_outage, 900},
   {servers, [node1@lxw, node2@lxw]}, {arbiter, arb@lxw},
   {apps, [
     {myapp, [{command, ["/usr/bin/myapp", "--port", 8080]}, {env, [{"KEY", "v a"}, {other, true}]}, {dir, "/srv"},
              {args, #{any => [1, 2.5, {a, "b", <<"ü"/utf8>>}, true, null, []], list => [{k, v}], text => [104, 105], ports => {80, 90}}},
              {takeover, overlap}, {stop, [{signal, 'SIGINT'}, {timeout, 0}]}, {restart, [{max, 7}, {within, 1000}, {backoff, 0}]},
              {start_phases, [init, {go, [1000]}]}, {included_applications, [part]}, {type, permanent}, {start_type, full}]},
     {part, [{start_phases, [{go, 1}]}, {restart, [{max, 3}]}, {start_type, full}]},
     {other, [{start_type, full}, {restart, [{max, 3}]}, {takeover, never}]},
     {never, [{start_type, otp}, {restart, [{max, 3}]}]},
     {local, [{command, ["x"]}, {restart, [{max, 3}]}]}]}]},
 {myapp, [{key, value}, {list, [1, 2]}]}].
`

const richYAML = `
sync: {mandatory: [node2@lxw, node3@lxw], optional: [node4@other], timeout: infinity}
distributed:
  - {app: myapp, timeout: 5s, nodes: [node1@lxw, [node2@lxw, node3@lxw]]}
  - app: other
    nodes: [node1@lxw]
  - {app: never, timeout: infinity, nodes: [node2@lxw]}
permissions: {myapp: true, other: false}
net_ticktime: 1m
hosts: {lxw: 127.0.0.1, other: "::1"}
ports: {client: 14222, cluster: 16222}
addresses: {node4@other: {client: "10.0.0.1:4222"}}
lease: 3s
kv_outage: 900ms
servers: [node1@lxw, node2@lxw]
arbiter: arb@lxw
apps:
  myapp:
    command: [/usr/bin/myapp, --port, 8080]
    env: {KEY: v a, other: "true"}
    dir: /srv
    args: {any: [1, 2.5, [a, b, ü], true, null, []], list: [[k, v]], text: hi, ports: [80, 90]}
    takeover: overlap
    stop: {signal: INT, timeout: 0s}
    restart: {max: 7, within: 1s, backoff: 0}
    start_phases: [init, {go: [1000]}]
    included_applications: [part]
    type: permanent
  other:
    takeover: never
  never: {start_type: otp}
  part: {start_phases: [{go: 1}]}
  local: {command: [x], start_type: otp}
application_env:
  kernel: {logger_level: info}
  myapp: {key: value, list: [1, 2]}
`

// TestTwoSyntaxesOneMeaning: the same things said in both give the same
// Config, and printing in either loses nothing.
func TestTwoSyntaxesOneMeaning(t *testing.T) {
	stored := files{"a.config": rich, "b.yaml": richYAML}
	a, b := mustLoad(t, stored, "a.config"), mustLoad(t, stored, "b.yaml")
	if !same(a, b) {
		t.Errorf("Erlang:\n%s\nYAML:\n%s", a.Canonical(), b.Canonical())
	}
	if a.Canonical() != b.Canonical() {
		t.Error("Canonical differs")
	}
	for _, printed := range []string{a.Erlang(), a.YAML()} {
		again := mustLoad(t, files{"c": printed}, "c")
		if !same(a, again) {
			t.Errorf("printed:\n%s\nread as:\n%s", printed, again.Canonical())
		}
	}
	if diffs := Compare(a, b); len(diffs) > 0 {
		t.Errorf("Compare: %v", diffs)
	}
}

func TestRichConfig(t *testing.T) {
	c := mustLoad(t, files{"a.config": rich}, "a.config")
	app, _ := c.App("myapp")
	want := App{
		Name: "myapp", Command: []string{"/usr/bin/myapp", "--port", "8080"}, Dir: "/srv",
		Env:         []Variable{{"KEY", "v a"}, {"other", "true"}},
		Args:        `{"any":[1,2.5,["a","b","ü"],true,null,[]],"list":[["k","v"]],"ports":[80,90],"text":"hi"}`,
		Type:        policy.Permanent,
		Stop:        Stop{"INT", 0},
		Restart:     Restart{7, time.Second, 0},
		StartPhases: []policy.Phase{{Name: "init"}, {Name: "go", Args: "[1000]"}},
		Included:    []policy.App{"part"},
		Takeover:    policy.Overlap, FullStart: true,
	}
	if !reflect.DeepEqual(*app, want) {
		t.Errorf("myapp is\n%+v, want\n%+v", *app, want)
	}
	spec, _ := c.Spec("myapp")
	if spec.Timeout != policy.Timeout(5*time.Second) || !spec.FullStart || spec.Takeover != policy.Overlap || len(spec.Groups) != 2 {
		t.Errorf("spec of myapp is %+v", *spec)
	}
	if spec, _ := c.Spec("never"); spec.Timeout != policy.Infinite || spec.FullStart {
		t.Errorf("spec of never is %+v", *spec)
	}
	if local, _ := c.App("local"); !local.Local || app.Local {
		t.Error("local app not told from distributed one")
	}
	if _, ok := c.App("nope"); ok {
		t.Error("found an app that is not there")
	}
	if _, ok := c.Spec("local"); ok {
		t.Error("a local app has a spec")
	}
	if values, ok := c.Section("myapp"); !ok || !reflect.DeepEqual(values, []Value{{"key", `"value"`}, {"list", "[1,2]"}}) {
		t.Errorf("environment of myapp: %v", values)
	}
	if got := nodeText(c.Nodes()); got != "[arb@lxw, node1@lxw, node2@lxw, node3@lxw, node4@other]" {
		t.Errorf("nodes %s", got)
	}
}

// TestDefaultsOfSyntax: restarts and the start type follow OTP where the entry
// of distributed is Erlang, whatever syntax the definition has (B-20).
func TestDefaultsOfSyntax(t *testing.T) {
	stored := files{
		"dist.config": `[{kernel, [{distributed, [{a, [n@h]}]}]}].`,
		"dist.yaml":   "distributed: [{app: a, nodes: [n@h]}]",
		"app.config":  `[{regent, [{apps, [{a, [{command, ["x"]}]}, {local, []}]}]}].`,
		"app.yaml":    "apps: {a: {command: [x]}, local: }",
		"phases.yaml": "apps: {a: {start_phases: []}}",
	}
	for _, tt := range []struct {
		files        string
		full         bool
		max, maxLoc  int
		definesLocal bool
	}{
		{"dist.config app.config", false, 0, 0, true},
		{"dist.config app.yaml", false, 0, 3, true},
		{"dist.yaml app.config", true, 3, 0, true},
		{"dist.yaml app.yaml", true, 3, 3, true},
		{"dist.config", false, 0, 0, false},
		{"dist.yaml", true, 3, 0, false},
		{"dist.config phases.yaml", true, 0, 0, false},
		{"dist.yaml dist.config", false, 0, 0, false},
	} {
		c := mustLoad(t, stored, strings.Fields(tt.files)...)
		spec, _ := c.Spec("a")
		app, ok := c.App("a")
		if !ok || spec.FullStart != tt.full || app.Restart.Max != tt.max {
			t.Errorf("%s: full start %t, max %d", tt.files, spec.FullStart, app.Restart.Max)
		}
		local, ok := c.App("local")
		if ok != tt.definesLocal || ok && local.Restart.Max != tt.maxLoc {
			t.Errorf("%s: local %+v", tt.files, local)
		}
		if app.Stop != (Stop{"TERM", 10 * time.Second}) || app.Restart.Within != 5*time.Second || app.Restart.Backoff != 200*time.Millisecond || app.Type != policy.Temporary {
			t.Errorf("%s: defaults %+v", tt.files, app)
		}
	}
}

// TestClassicExample: the files of examples/classic say what Erlang users know
// of them, and agree with one another and with their YAML.
func TestClassicExample(t *testing.T) {
	dir := filepath.Join("..", "..", "examples", "classic")
	load := func(names ...string) *Config {
		t.Helper()
		for i, n := range names {
			names[i] = filepath.Join(dir, n)
		}
		c, err := Load(os.ReadFile, names...)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Warnings) > 0 {
			t.Errorf("warnings: %v", c.Warnings)
		}
		return c
	}
	fromYAML := load("regent.yaml")
	for i := range 3 {
		c := load(fmt.Sprintf("node%d.config", i+1), "apps.config")
		spec, _ := c.Spec("myapp")
		if want := "{myapp,5s,[node1@lxw,{node2@lxw,node3@lxw}],exclusive,full=false,phases=[]}"; spec.Canonical() != want {
			t.Errorf("spec %s, want %s", spec.Canonical(), want)
		}
		if len(c.Sync.Mandatory) != 2 || c.Sync.Timeout != policy.Timeout(5*time.Second) || !c.Sync.Defined {
			t.Errorf("sync %+v", c.Sync)
		}
		if diffs := Compare(c, fromYAML); len(diffs) > 0 {
			t.Errorf("node%d.config and regent.yaml: %v", i+1, diffs)
		}
		if !reflect.DeepEqual(c.Apps, fromYAML.Apps) {
			t.Errorf("apps: %+v\nin YAML: %+v", c.Apps, fromYAML.Apps)
		}
		voters, err := c.Voters("node1@lxw")
		if err != nil || nodeText(voters) != "[node1@lxw, node2@lxw, node3@lxw]" {
			t.Errorf("voters %v, %v", voters, err)
		}
	}
}

func TestReaderErrorIsKept(t *testing.T) {
	_, err := Load(func(string) ([]byte, error) { return nil, fs.ErrPermission }, "x.config")
	if !errors.Is(err, fs.ErrPermission) || err.Error() != "x.config: permission denied" {
		t.Errorf("error %v", err)
	}
	_, err = Load(files{}.read, "x.config")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// TestIncludePlaces: beside the including file, then in the working directory,
// with or without the suffix, and an absolute path as it is.
func TestIncludePlaces(t *testing.T) {
	app := func(name string) string { return fmt.Sprintf("[{regent, [{apps, [{%s, []}]}]}].", name) }
	for _, tt := range []struct {
		including, included string
		stored              files
		want                policy.App
	}{
		{"etc/a.config", "b.config", files{"etc/b.config": app("beside"), "b.config": app("working")}, "beside"},
		{"etc/a.config", "b", files{"etc/b.config": app("beside"), "b.config": app("working")}, "beside"},
		{"etc/a.config", "b", files{"b.config": app("working")}, "working"},
		{"etc/a.config", "../b", files{"b.config": app("up")}, "up"},
		{"../etc/a.config", "b", files{"../etc/b.config": app("up")}, "up"},
		{"etc/a.config", "/abs/b", files{"/abs/b.config": app("abs"), "etc/abs/b.config": app("no")}, "abs"},
		{"a", "b.yaml", files{"b.yaml": "apps: {yaml: }"}, "yaml"},
	} {
		tt.stored[tt.including] = fmt.Sprintf("[%q].", tt.included)
		c := mustLoad(t, tt.stored, tt.including)
		if _, ok := c.App(tt.want); !ok {
			t.Errorf("%s including %s: apps %v", tt.including, tt.included, c.Apps)
		}
	}
}

func TestIncludesAreBounded(t *testing.T) {
	stored := files{}
	for i := range 30 {
		stored[fmt.Sprintf("f%d.config", i)] = fmt.Sprintf(`["f%d", "f%d"].`, i+1, i+1)
	}
	stored["f30.config"] = "[]."
	_, err := Load(stored.read, "f0.config")
	if err == nil || !strings.Contains(err.Error(), "more than 200 includes") {
		t.Errorf("error %v", err)
	}
}

// FuzzLoad: the loader never panics; every error has a position; what it
// accepts survives printing in both syntaxes.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(rich))
	f.Add([]byte(richYAML))
	f.Add([]byte(`["a"].`))
	f.Add([]byte(`"a\n\x1b[0m": 1`))
	f.Add([]byte("apps: &a {x: {args: *a}}"))
	f.Add([]byte("a: &x {p: 1}\n<<: *x\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Load(files{"a": string(src)}.read, "a")
		if err != nil {
			ds, ok := errors.AsType[Diagnostics](err)
			if !ok || len(ds) == 0 || ds[0].File == "" || strings.ContainsRune(ds[0].Message, '\n') {
				t.Fatalf("error %#v", err)
			}
			return
		}
		for _, printed := range []string{c.Erlang(), c.YAML()} {
			again, err := Load(files{"a": printed}.read, "a")
			if err != nil {
				t.Fatalf("printed:\n%s\n%v", printed, err)
			}
			if c.Canonical() != again.Canonical() {
				t.Fatalf("printed:\n%s\nread as:\n%s", printed, again.Canonical())
			}
		}
		for _, n := range append(c.Nodes(), node.Name("self@h")) {
			if _, err := c.Voters(n); err == nil {
				_, _ = c.PortMap(n, nil)
			}
		}
		if diffs := Compare(c, c); len(diffs) > 0 {
			t.Fatalf("differs from itself: %v", diffs)
		}
	})
}
