package warden

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// The test binary is agent and warden, too.
const agentRole = "WARDEN_TEST_AGENT"

func TestMain(m *testing.M) {
	Main(func(l Life, _ *slog.Logger) (Certifier, error) {
		return fileCertifier(strings.Trim(string(l.Reach), `"`)), nil
	})
	if dir := os.Getenv(agentRole); dir != "" {
		actAgent(dir)
	}
	os.Exit(m.Run())
}

// fileCertifier certifies into a file.
type fileCertifier string

func (f fileCertifier) Certify(context.Context) error {
	return os.WriteFile(string(f), []byte("dead"), 0o600)
}
func (f fileCertifier) Renew(json.RawMessage) error { return nil }
func (f fileCertifier) Close()                      {}

// actAgent is an agent with one group, a shell with a child. Commands come on
// its input, a line each.
func actAgent(dir string) {
	must := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	groups, err := samehost.CreateGroups(filepath.Join(dir, "groups"))
	must(err)
	c, err := Start(Options{
		Life:   Life{Cluster: "c", Node: "n@h", Agent: "a", TTL: time.Second, Reach: []byte(`"` + filepath.Join(dir, "certificate") + `"`)},
		Groups: groups, Renew: 2 * time.Second, Late: 100 * time.Millisecond, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Required: true,
	})
	must(err)
	app := exec.Command("sh", "-c", "sleep 1000 & wait")
	app.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(app.Start())
	p, err := samehost.Find(app.Process.Pid)
	must(err)
	g := samehost.Group{App: "app", PGID: p.PID, StartTime: p.StartTime}
	c.Arm(samehost.Boottime() + armed) // known when the group is
	must(c.Add(g))
	fmt.Println("group", p.PID)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "close" {
			_ = syscall.Kill(-p.PID, syscall.SIGKILL)
			_ = app.Wait()
			c.Remove(g)
			c.Close()
			os.Exit(0)
		}
	}
	os.Exit(0)
}

// armed is how long the agent may stand still.
const armed = 2 * time.Second

// testAgent is such an agent, from outside.
type testAgent struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	in    *os.File
	out   *bufio.Reader
	group int
}

func startAgent(t *testing.T) *testAgent {
	t.Helper()
	a := &testAgent{t: t, dir: t.TempDir()}
	a.cmd = exec.Command(os.Args[0])
	a.cmd.Env = append(os.Environ(), agentRole+"="+a.dir)
	a.cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a.cmd.Stdin, a.in = r, w
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.out = bufio.NewReader(out)
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() {
		_ = w.Close()
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
		_ = syscall.Kill(-a.group, syscall.SIGKILL)
	})
	if line, err := a.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "group ") {
		t.Fatalf("agent: %q, %v", line, err)
	} else if _, err := fmt.Sscanf(line, "group %d", &a.group); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *testAgent) say(command string) {
	a.t.Helper()
	if _, err := fmt.Fprintln(a.in, command); err != nil {
		a.t.Fatal(err)
	}
}

func (a *testAgent) certified() bool {
	_, err := os.Stat(filepath.Join(a.dir, "certificate"))
	return err == nil
}

// groupGone reports whether nothing of the agent's group is alive.
func (a *testAgent) groupGone() bool {
	members, err := samehost.Members(a.group)
	return err == nil && len(members) == 0
}

// ends waits for the certificate; whenever it is there, the group must be gone.
func (a *testAgent) ends() {
	a.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if a.certified() {
			break
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("no certificate; the group is gone: %t", a.groupGone())
		}
	}
	if !a.groupGone() {
		a.t.Error("certified before the group was gone")
	}
	err := a.cmd.Wait()
	if status, ok := a.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		a.t.Errorf("the agent ended with %v, want SIGKILL", err)
	}
}

func TestAgentKilled(t *testing.T) {
	a := startAgent(t)
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	a.ends()
}

func TestAgentStandsStill(t *testing.T) {
	a := startAgent(t)
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.ends()
}

// A goodbye ends the warden, and nothing is certified.
func TestGoodbye(t *testing.T) {
	a := startAgent(t)
	a.say("close")
	if err := a.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if a.certified() {
		t.Error("an agent that said goodbye was certified dead")
	}
}

// A program that did not call Main would start another node, not a warden.
func TestMainNotCalled(t *testing.T) {
	mainCalled.Store(false)
	defer mainCalled.Store(true)
	o := Options{Log: slog.New(slog.DiscardHandler)}
	if c, err := Start(o); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
	o.Required = true
	if _, err := Start(o); !errors.Is(err, ErrNone) {
		t.Errorf("%v, want ErrNone", err)
	}
	var none *Client
	none.Arm(time.Hour)
	none.Close()
}
