package osproc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/samehost"
)

// Every process that a test starts has this variable, so that TestMain can see
// whether one is left.
const mark = "OSPROC_TEST_RUN"

func TestMain(m *testing.M) {
	Main()
	if script := os.Getenv(agentScript); script != "" {
		agent(script)
	}
	value := strconv.Itoa(os.Getpid())
	_ = os.Setenv(mark, value)
	code := m.Run()
	if left := marked(mark + "=" + value); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "processes left behind:", left)
		code = 1
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// marked lists living processes with this variable other than this one.
func marked(variable string) (left []samehost.Process) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		if p, err := samehost.Find(pid); err == nil && !p.Gone() && bytes.Contains(env, []byte(variable+"\x00")) {
			left = append(left, p)
		}
	}
	return left
}

// Where a process of these tests keeps the script that makes it an agent.
const (
	agentScript = "OSPROC_TEST_AGENT"
	agentHang   = "OSPROC_TEST_HANG" // hang when the group is recorded, before the exec
	agentList   = "OSPROC_TEST_LIST" // file of the list of groups
)

const agentSession = "11111111-2222-3333-4444-555555555555"

// agent is a process that runs a script as an app until it is killed. It
// prints the group, then what the app prints.
func agent(script string) {
	r := &Runner{
		Command: Command{Args: []string{"/bin/sh", "-c", script}},
		Output:  func(l Line) { fmt.Println(l.Text) },
	}
	if path := os.Getenv(agentList); path != "" {
		list, err := samehost.CreateGroups(path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		r.Ledger = announcer{list}
	} else {
		r.Ledger = announcer{&ledger{}}
	}
	e := r.Start(app.Start{App: "a", Session: agentSession}).Exit()
	fmt.Println("exit", e.Reason)
	os.Exit(1)
}

// announcer is a Ledger that also prints the group.
type announcer struct{ Ledger }

func (a announcer) Add(g samehost.Group) error {
	if err := a.Ledger.Add(g); err != nil {
		return err
	}
	fmt.Println(g.PGID, g.StartTime)
	if os.Getenv(agentHang) != "" {
		time.Sleep(time.Hour)
	}
	return nil
}

// ledger is a Ledger that keeps what it is told.
type ledger struct {
	onAdd func(samehost.Group) error

	mu   sync.Mutex
	live map[samehost.Group]bool
	all  []samehost.Group
}

func (l *ledger) Add(g samehost.Group) error {
	if l.onAdd != nil {
		if err := l.onAdd(g); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		l.live = map[samehost.Group]bool{}
	}
	l.live[g] = true
	l.all = append(l.all, g)
	return nil
}

func (l *ledger) Remove(g samehost.Group) { l.mu.Lock(); delete(l.live, g); l.mu.Unlock() }

func (l *ledger) empty() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.live) == 0 }

// rig is a Runner of a shell script, with its ledger and output.
type rig struct {
	Runner
	ledger ledger
	output *Ring
}

func newRig(args ...string) *rig {
	r := &rig{output: NewRing(1 << 20)}
	r.Command.Args, r.Command.StopTimeout = args, time.Minute
	r.Ledger, r.Output = &r.ledger, r.output.Add
	return r
}

func shell(script string) *rig { return newRig("/bin/sh", "-c", script) }

func (r *rig) text() string {
	var b strings.Builder
	for _, l := range r.output.Lines() {
		fmt.Fprintf(&b, "%s\n", l.Text)
	}
	return b.String()
}

// run starts an instance that the end of the test kills.
func (r *rig) run(t *testing.T) app.Instance {
	t.Helper()
	i := r.Start(app.Start{App: "a", Session: "s"})
	t.Cleanup(func() { i.Kill(errors.New("end of the test")); <-i.Done() })
	return i
}

// up is run, until the script has printed "up".
func (r *rig) up(t *testing.T) app.Instance {
	t.Helper()
	i := r.run(t)
	if err := app.Await(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	eventually(t, "script up", func() bool { return strings.Contains(r.text(), "up\n") })
	return i
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 10 s: " + what)
		}
	}
}

func gone(pid int) bool {
	p, err := samehost.Find(pid)
	return err != nil || p.Gone()
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
