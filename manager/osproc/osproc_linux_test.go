package osproc

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/samehost"
	"github.com/seed7529eb29/regent/policy"
)

func TestCommandSeesItsEnvironmentAndNothingElse(t *testing.T) {
	t.Setenv("REGENT_COOKIE", "secret")
	t.Setenv("REGENT_COOKIE_FILE", "/secret")
	t.Setenv("NATS_CREDS", "/secret")
	r := newRig("env")
	r.Command.Env = map[string]string{"KEY": "value"}
	s := app.Start{App: "a", Epoch: 12, Kind: policy.StartFailover, From: "n2@h"}
	i := r.Start(s)
	if e := i.Exit(); !e.Started || !e.Normal || e.Reason != "exit status 0" {
		t.Fatalf("exit %+v", e)
	}
	got := slices.Sorted(strings.Lines(r.text()))
	want := environment(os.Environ(), r.Command, s, nil)
	if text := strings.Join(got, ""); text != strings.Join(want, "\n")+"\n" {
		t.Errorf("got\n%s\nwant\n%s", text, strings.Join(want, "\n"))
	}
	if strings.Contains(r.text(), "secret") || !strings.Contains(r.text(), "REGENT_START_FROM=n2@h\n") {
		t.Errorf("got\n%s", r.text())
	}
}

func TestExitOfTheCommand(t *testing.T) {
	for script, want := range map[string]app.Exit{
		"exit 0":      {Started: true, Normal: true, Reason: "exit status 0"},
		"exit 3":      {Started: true, Reason: "exit status 3"},
		"kill -9 $$":  {Started: true, Reason: "signal: killed"},
		"kill -15 $$": {Started: true, Reason: "signal: terminated"},
	} {
		r := shell(script)
		e := r.run(t).Exit()
		if e.Started != want.Started || e.Normal != want.Normal || e.Reason != want.Reason || e.Err != nil {
			t.Errorf("%s: exit %+v", script, e)
		}
		if len(r.ledger.all) != 1 || !r.ledger.empty() {
			t.Errorf("%s: ledger %+v", script, r.ledger.all)
		}
	}
}

func TestOutputOfBothStreams(t *testing.T) {
	r := shell("echo out; echo err >&2; printf last")
	r.run(t).Exit()
	got := map[Stream][]string{}
	for _, l := range r.output.Lines() {
		got[l.Stream] = append(got[l.Stream], l.Text)
	}
	if !slices.Equal(got[Stdout], []string{"out", "last"}) || !slices.Equal(got[Stderr], []string{"err"}) {
		t.Errorf("got %q", got)
	}
}

func TestFailedStartIsReportedInWords(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "text", 0o644)
	for _, c := range []struct {
		name string
		cmd  Command
		is   error
		says string
	}{
		{"empty", Command{}, ErrNoCommand, ""},
		{"empty name", Command{Args: []string{""}}, ErrNoCommand, ""},
		{"missing", Command{Args: []string{dir + "/none"}}, fs.ErrNotExist, dir + "/none"},
		{"not in PATH", Command{Args: []string{"no-such-command"}}, fs.ErrNotExist, `"no-such-command" is not in PATH`},
		{"own PATH", Command{Args: []string{"sh"}, Env: map[string]string{"PATH": ".:" + dir}}, fs.ErrNotExist, `"sh" is not in PATH`},
		{"not executable", Command{Args: []string{plain}}, fs.ErrPermission, plain},
		{"not executable in PATH", Command{Args: []string{"plain"}, Env: map[string]string{"PATH": dir}}, fs.ErrPermission, plain},
		{"directory", Command{Args: []string{dir}}, syscall.EISDIR, dir},
		{"not a program", Command{Args: []string{write("data", "\x01\x02", 0o755)}}, syscall.ENOEXEC, dir + "/data"},
		{"no interpreter", Command{Args: []string{write("script", "#!/no/such/shell\n", 0o755)}}, fs.ErrNotExist, "interpreter"},
		{"directory missing", Command{Args: []string{"true"}, Dir: dir + "/none"}, fs.ErrNotExist, dir + "/none"},
		{"directory is a file", Command{Args: []string{"true"}, Dir: plain}, syscall.ENOTDIR, plain},
		{"NUL in an argument", Command{Args: []string{"true", "a\x00"}}, syscall.EINVAL, "zero byte"},
		{"too long", Command{Args: []string{"true", strings.Repeat("x", 1<<18)}}, syscall.E2BIG, "true"},
	} {
		r := newRig()
		r.Command = c.cmd
		i := r.run(t)
		err := app.Await(t.Context(), i)
		if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if e := i.Exit(); e.Started || e.Normal || e.Reason != err.Error() || !r.ledger.empty() {
			t.Errorf("%s: exit %+v", c.name, e)
		}
	}
}

func TestWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "here"), []byte("#!/bin/sh\npwd; echo $0 $PWD\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := newRig("./here")
	r.Command.Dir = dir
	if e := r.run(t).Exit(); !e.Normal {
		t.Fatalf("exit %+v", e)
	}
	if want := fmt.Sprintf("%s\n%s %s\n", dir, filepath.Join(dir, "here"), dir); r.text() != want {
		t.Errorf("got %q, want %q", r.text(), want)
	}
}

func TestProgramWithoutMainIsRefused(t *testing.T) {
	mainCalled.Store(false)
	defer mainCalled.Store(true)
	if err := app.Await(t.Context(), shell("exit 0").run(t)); !errors.Is(err, ErrNoMain) {
		t.Errorf("got %v", err)
	}
}

func TestGroupIsKnownBeforeTheCommandIsExecuted(t *testing.T) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	r := shell("touch executed; exec sleep 1000")
	r.Command.Dir = t.TempDir()
	r.ledger.onAdd = func(g samehost.Group) error {
		p, err := samehost.Find(g.PGID)
		if err != nil || p.PGID != p.PID || p.StartTime != g.StartTime || g.App != "a" {
			t.Errorf("recorded %+v, found %+v, %v", g, p, err)
		}
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", g.PGID)); exe != self {
			t.Errorf("the child is already %q, %v", exe, err)
		}
		return nil
	}
	i := r.run(t)
	if err := app.Await(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	g := r.ledger.all[0]
	if p, err := samehost.Find(g.PGID); err != nil || p.StartTime != g.StartTime {
		t.Errorf("the exec has changed the start time: %+v, %v; recorded %+v", p, err, g)
	}
	eventually(t, "executed", func() bool { _, err := os.Stat(filepath.Join(r.Command.Dir, "executed")); return err == nil })
}

func TestWhatTheLedgerRefusesIsNotExecuted(t *testing.T) {
	full := errors.New("disk full")
	r := shell("touch executed")
	r.Command.Dir = t.TempDir()
	var pid int
	r.ledger.onAdd = func(g samehost.Group) error { pid = g.PGID; return full }
	if err := app.Await(t.Context(), r.run(t)); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(r.Command.Dir); len(entries) != 0 || err != nil || !gone(pid) {
		t.Errorf("it was executed: %v, %v", entries, err)
	}
}

func TestEndDuringStart(t *testing.T) {
	for name, c := range map[string]struct {
		end func(app.Instance, samehost.Group)
		is  error
	}{
		"kill":            {func(i app.Instance, _ samehost.Group) { i.Kill(nil); i.Kill(errors.New("second")) }, app.ErrFenced},
		"stop":            {func(i app.Instance, _ samehost.Group) { i.Stop(); i.Stop() }, app.ErrStopped},
		"killed by other": {func(_ app.Instance, g samehost.Group) { _ = unix.Kill(g.PGID, unix.SIGKILL) }, errNoCommandYet},
	} {
		t.Run(name, func(t *testing.T) {
			r := shell("touch executed")
			r.Command.Dir = t.TempDir()
			recorded, resume := make(chan samehost.Group), make(chan struct{})
			r.ledger.onAdd = func(g samehost.Group) error { recorded <- g; <-resume; return nil }
			i := r.run(t)
			g := <-recorded
			c.end(i, g)
			close(resume)
			if e := i.Exit(); e.Started || !errors.Is(e.Err, c.is) || e.Reason != e.Err.Error() {
				t.Errorf("exit %+v", e)
			}
			if entries, err := os.ReadDir(r.Command.Dir); len(entries) != 0 || err != nil || !gone(g.PGID) {
				t.Errorf("it was executed: %v, %v", entries, err)
			}
		})
	}
}

func TestStopSendsTheSignalToTheGroup(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"TERM": 0, "USR1": syscall.SIGUSR1} {
		r := shell(`trap "echo bye; exit 7" ` + name + `; echo up; while :; do sleep 0.01; done`)
		r.Command.StopSignal = sig
		i := r.up(t)
		i.Stop()
		i.Stop()
		if e := i.Exit(); !e.Started || !e.Normal || e.Reason != "stopped: exit status 7" {
			t.Errorf("%s: exit %+v", name, e)
		}
		if !strings.Contains(r.text(), "bye\n") {
			t.Errorf("%s: output %q", name, r.text())
		}
	}
}

func TestStopReachesAStoppedGroup(t *testing.T) {
	r := shell("echo up; exec sleep 1000")
	i := r.up(t)
	if err := unix.Kill(r.ledger.all[0].PGID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	i.Stop()
	if e := i.Exit(); !e.Normal || e.Reason != "stopped: signal: terminated" {
		t.Errorf("exit %+v", e)
	}
}

func TestWhatIgnoresTheStopIsKilledAfterTheTimeout(t *testing.T) {
	r := shell(`trap "" TERM; echo up; sleep 1000`)
	r.Command.StopTimeout = 50 * time.Millisecond
	i := r.up(t)
	asked := time.Now()
	i.Stop()
	e := i.Exit()
	if e.Normal || !strings.Contains(e.Reason, app.ErrStopTimeout.Error()) || time.Since(asked) < r.Command.StopTimeout {
		t.Errorf("exit %+v after %v", e, time.Since(asked))
	}
}

func TestKillIsAtOnce(t *testing.T) {
	r := shell(`trap "" TERM; echo up; sleep 1000`)
	r.Command.StopTimeout = time.Hour
	i := r.up(t)
	i.Stop()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { i.Kill(app.ErrFenced) })
	}
	e := i.Exit()
	wg.Wait()
	if e.Normal || !e.Started || e.Reason != "killed: "+app.ErrFenced.Error() {
		t.Errorf("exit %+v", e)
	}
	i.Kill(nil)
	i.Stop()
}

func TestGroupIsGoneWhenDone(t *testing.T) {
	r := shell(`trap "" TERM HUP; sleep 1000 & echo $!; (sleep 1000 & echo $!); exit 3`)
	e := r.run(t).Exit()
	if e.Reason != "exit status 3" {
		t.Errorf("exit %+v", e)
	}
	pids := strings.Fields(r.text())
	if len(pids) != 2 {
		t.Fatalf("output %q", r.text())
	}
	for _, pid := range pids {
		if !gone(atoi(t, pid)) {
			t.Errorf("grandchild %s outlived its instance", pid)
		}
	}
}

func TestStopGivesTheWholeGroupItsTime(t *testing.T) {
	r := shell(`(trap "sleep 0.05; echo late; exit" TERM; echo up; while :; do sleep 0.01; done) & wait`)
	i := r.up(t)
	i.Stop()
	if e := i.Exit(); !e.Normal || e.Reason != "stopped: signal: terminated" {
		t.Errorf("exit %+v", e)
	}
	if !strings.Contains(r.text(), "late\n") {
		t.Errorf("the rest of the group was cut short: %q", r.text())
	}
}

func TestStopTimeoutCoversTheWholeGroup(t *testing.T) {
	r := shell(`sh -c 'trap "" TERM; echo $$; echo up; exec sleep 1000' & wait`)
	r.Command.StopTimeout = 50 * time.Millisecond
	i := r.up(t)
	i.Stop()
	<-i.Done()
	if pid := strings.Fields(r.text())[0]; !gone(atoi(t, pid)) {
		t.Errorf("grandchild %s outlived its instance", pid)
	}
}

// A process that left the group is beyond the instance's reach, and mustn't
// hold it up.
func TestDaemonDoesNotHoldUpDone(t *testing.T) {
	r := shell(`setsid sh -c 'echo $$ > pid; exec sleep 1000' & while ! [ -s pid ]; do sleep 0.01; done; cat pid`)
	r.Command.Dir = t.TempDir()
	i := r.run(t)
	select {
	case <-i.Done():
	case <-time.After(10 * time.Second):
		t.Error("not done within 10 s")
	}
	pid := atoi(t, r.text())
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	eventually(t, "daemon gone", func() bool { return gone(pid) })
}

func TestRunnerStartsAgain(t *testing.T) {
	r := shell("echo $$")
	for range 3 {
		if e := r.run(t).Exit(); !e.Normal {
			t.Fatalf("exit %+v", e)
		}
	}
	if n := len(strings.Fields(r.text())); n != 3 || len(r.ledger.all) != 3 {
		t.Errorf("output %q", r.text())
	}
}

func TestAppSurvivesTheThreadThatAskedForIt(t *testing.T) {
	r := shell("echo up; exec sleep 1000")
	tid := onDyingThread(t, func() { <-r.run(t).Started() })
	thread := fmt.Sprintf("/proc/self/task/%d", tid)
	eventually(t, "thread gone", func() bool { _, err := os.Stat(thread); return err != nil })
	if gone(r.ledger.all[0].PGID) {
		t.Error("the app ended with the thread")
	}
}

// onDyingThread runs f on a thread that ends afterwards: Go ends the thread of
// a goroutine that returns locked to it, unless it is the process' first one.
func onDyingThread(t *testing.T, f func()) (tid int) {
	t.Helper()
	result, end := make(chan int), make(chan struct{})
	defer close(end)
	for {
		go func() {
			runtime.LockOSThread()
			if unix.Gettid() == os.Getpid() {
				result <- 0
				<-end // so that the next goroutine gets another thread
				return
			}
			f()
			result <- unix.Gettid()
		}()
		if tid := <-result; tid != 0 {
			return tid
		}
	}
}

// agentUp starts an agent process and returns it with the app's pid and the
// rest of its output.
func agentUp(t *testing.T, script string, env ...string) (agent *exec.Cmd, pid int, output *bufio.Reader) {
	t.Helper()
	agent = exec.Command(os.Args[0])
	agent.Env = append(append(os.Environ(), agentScript+"="+script), env...)
	agent.Stderr = os.Stderr
	stdout, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })
	output = bufio.NewReader(stdout)
	var start uint64
	if _, err := fmt.Fscanln(output, &pid, &start); err != nil {
		t.Fatal(err)
	}
	return agent, pid, output
}

func TestKilledAgentTakesItsAppAlong(t *testing.T) {
	agent, pid, output := agentUp(t, `trap "" HUP TERM; echo up; while :; do sleep 0.01; done`)
	if line, err := output.ReadString('\n'); line != "up\n" {
		t.Fatal(line, err)
	}
	if gone(pid) {
		t.Fatal("not running")
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "app gone", func() bool { return gone(pid) })
}

// The kernel ends the command with the agent, but not what the command has
// started: that is left to whoever reads the list.
func TestLeftoversOfAKilledAgentAreFoundByTheList(t *testing.T) {
	list := filepath.Join(t.TempDir(), "groups")
	agent, pid, output := agentUp(t, `sleep 1000 & echo up; wait`, agentList+"="+list)
	if line, err := output.ReadString('\n'); line != "up\n" {
		t.Fatal(line, err)
	}
	self, err := samehost.Find(agent.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	rec := policy.SessionRecord{Node: "n1@h", Session: agentSession, UID: os.Getuid(), PID: self.PID, StartTime: self.StartTime, Groups: list}
	if rec.Host, err = samehost.Host(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "app gone", func() bool { return gone(pid) })
	eventually(t, "agent gone", func() bool { return gone(rec.PID) })
	if proved, err := samehost.Prove(rec); proved || err != nil {
		t.Errorf("proof beside a living grandchild: %t, %v", proved, err)
	}
	if n, err := samehost.KillLeftovers(rec, samehost.SpareNobody); n != 1 || err != nil {
		t.Errorf("KillLeftovers: %d, %v", n, err)
	}
	eventually(t, "proof", func() bool { proved, err := samehost.Prove(rec); return proved && err == nil })
}

func TestAgentKilledBeforeTheExecExecutesNothing(t *testing.T) {
	executed := filepath.Join(t.TempDir(), "executed")
	agent, pid, _ := agentUp(t, "touch "+executed, agentHang+"=1")
	if gone(pid) {
		t.Fatal("no child")
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "child gone", func() bool { return gone(pid) })
	if _, err := os.Stat(executed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the command was executed: %v", err)
	}
}

func TestReportOfTheChild(t *testing.T) {
	p := plan{path: "/p", dir: "/d"}
	for text, want := range map[string]error{
		"x": nil, "": errNoCommandYet, "d": errNoCommandYet, "xy": errNoCommandYet,
		"d2": syscall.ENOENT, "x13": syscall.EACCES,
	} {
		if err := parseReport(text, p); !errors.Is(err, want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	r := newRig("/bin/true")
	for b.Loop() {
		i := r.Start(app.Start{App: "a"})
		if err := app.Await(b.Context(), i); err != nil {
			b.Fatal(err)
		}
		<-i.Done()
	}
}

func TestSignalNames(t *testing.T) {
	for name, want := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "WINCH": syscall.SIGWINCH, "KILL": syscall.SIGKILL, "": 0, "SIGTERM": 0, "9": 0} {
		if got, err := Signal(name); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

func TestStopWithoutATimeoutKills(t *testing.T) {
	r := shell(`trap "" TERM; echo up; sleep 1000`)
	r.Command.StopTimeout = 0
	i := r.up(t)
	i.Stop()
	if e := i.Exit(); e.Normal {
		t.Errorf("exit %+v", e)
	}
}

// With a nursery an app's process is there before it is asked for, and is used
// once; those that wait end with the nursery.
func TestNursery(t *testing.T) {
	n := NewNursery(2, nil)
	waiting := func(want int) []int {
		t.Helper()
		var pids []int
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if pids = children(t); len(pids) == want {
				return pids
			}
		}
		t.Fatalf("%d children wait, want %d", len(pids), want)
		return nil
	}
	first := waiting(2)
	r := shell("echo $$; exit 3")
	r.Nursery = n
	seen := map[string]bool{}
	for range 4 {
		if e := r.run(t).Exit(); e.Reason != "exit status 3" {
			t.Errorf("exit %+v", e)
		}
		waiting(2)
	}
	for l := range strings.Lines(r.text()) {
		seen[strings.TrimSpace(l)] = true
	}
	if len(seen) != 4 {
		t.Errorf("four starts were %v", seen)
	}
	for _, pid := range first {
		if !seen[strconv.Itoa(pid)] {
			t.Errorf("child %d, which was ready, became nothing", pid)
		}
	}
	one := waiting(2)[0] // what dies while it waits is passed over
	if err := syscall.Kill(one, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if e := r.run(t).Exit(); e.Reason != "exit status 3" {
			t.Errorf("exit %+v", e)
		}
	}
	n.Close()
	waiting(0)
}

// children are the living shims of this process.
func children(t *testing.T) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil || string(line) != shimName+"\x00" {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(f), "stat"))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ") // state, parent, …
		pid, errPID := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		parent, errParent := strconv.Atoi(strings.Fields(after)[1])
		if err := errors.Join(errPID, errParent); err != nil {
			t.Fatal(err)
		}
		if parent == os.Getpid() && after[0] != 'Z' {
			pids = append(pids, pid)
		}
	}
	return pids
}
