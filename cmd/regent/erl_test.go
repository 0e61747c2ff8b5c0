package main

import (
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
)

// options makes the options of a command line of erl.
func erlOptions(t *testing.T, args ...string) (*NodeOptions, *erlLine) {
	t.Helper()
	line, exit := parseErl(args)
	if exit != nil {
		t.Fatalf("parseErl(%q): %v", args, exit)
	}
	o, err := line.flags.options(io.Discard, io.Discard)
	if err != nil {
		t.Fatalf("options of %q: %v", args, err)
	}
	return o, line
}

func TestErlTakesTheFlagsOfTheStartScript(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	o, line := erlOptions(t, "-noshell", "-noinput", "-sname", "node1@lxw", "-config", "node1", "more", "-config", "apps.config",
		"-setcookie", "abc", "-hidden", "-eval", "application:start(a),application:start(b)", "-eval", "application:load(c).", "-pa", "ebin", "x/ebin")
	if o.Name != "node1@lxw" || o.Long || !o.Hidden || o.DataDir != "/state/regent/node1@lxw" {
		t.Errorf("options %+v", o)
	}
	if want := []string{"node1", "more", "apps.config"}; !reflect.DeepEqual(o.Config, want) {
		t.Errorf("config %q, want %q", o.Config, want)
	}
	if line.cookie != "abc" || len(line.warnings) != 1 {
		t.Errorf("cookie %q, warnings %q", line.cookie, line.warnings)
	}
	if len(line.eval) != 3 || line.eval[2].Func != EvalLoad {
		t.Errorf("eval %+v", line.eval)
	}
}

// TestErlTakesTheFlagsOfNode: every flag of node, with two dashes, mixed with
// those of erl.
func TestErlTakesTheFlagsOfNode(t *testing.T) {
	t.Setenv("REGENT_HOSTS", "lxw=10.0.0.1, b=10.0.0.2")
	o, _ := erlOptions(t, "-name", "n@h.d", "--data", "dir", "--cluster=blue", "-config", "a", "--config", "b", "--host", "lxw=127.0.0.1",
		"--new-cluster", "--start", "x:permanent", "--start", "y", "--listen", "127.0.0.1:1", "--insecure-cookie", "--log-format", "json")
	if o.Name != "n@h.d" || !o.Long || o.DataDir != "dir" || o.Cluster != "blue" || !o.NewCluster || o.Listen != "127.0.0.1:1" || !o.Cookie.Insecure || o.LogFormat != "json" {
		t.Errorf("options %+v", o)
	}
	if want := []string{"a", "b"}; !reflect.DeepEqual(o.Config, want) {
		t.Errorf("config %q, want %q", o.Config, want)
	}
	wantHosts := []config.Host{{Name: "lxw", Addr: "10.0.0.1"}, {Name: "b", Addr: "10.0.0.2"}, {Name: "lxw", Addr: "127.0.0.1"}}
	if !reflect.DeepEqual(o.Hosts, wantHosts) {
		t.Errorf("hosts %v, want %v", o.Hosts, wantHosts)
	}
	if want := []StartReq{{"x", policy.Permanent}, {"y", ""}}; !reflect.DeepEqual(o.Start, want) {
		t.Errorf("start %v, want %v", o.Start, want)
	}
}

func TestDetachedIsSaidToHaveNoEffect(t *testing.T) {
	if _, line := erlOptions(t, "-sname", "a@h", "-detached"); len(line.warnings) != 1 {
		t.Errorf("warnings %q, want one", line.warnings)
	}
}

func TestNamesAreCompletedByTheHost(t *testing.T) {
	host := func(name string) func() (string, error) { return func() (string, error) { return name, nil } }
	if n, err := shortName("node1", host("box.example.org")); err != nil || n != "node1@box" {
		t.Errorf("short name %q, %v; want node1@box", n, err)
	}
	if n, err := longName("node1", host("box.example.org")); err != nil || n != "node1@box.example.org" {
		t.Errorf("long name %q, %v; want node1@box.example.org", n, err)
	}
	if n, err := longName("node1@10.0.0.1", host("")); err != nil || n != "node1@10.0.0.1" {
		t.Errorf("long name %q, %v; want node1@10.0.0.1", n, err)
	}
	if n, err := longName("node1", host("box")); err == nil {
		t.Errorf("long name %q of a host without a domain", n)
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0s", -time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		3*time.Hour + 5*time.Minute: "3h05m", 49*time.Hour + time.Minute: "2d01h",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("ago of %v = %q, want %q", d, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "" {
		t.Errorf("ago of no time = %q", got)
	}
}
