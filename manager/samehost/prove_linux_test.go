package samehost

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/policy"
)

// Every process that a test starts has this variable, so that TestMain can see
// whether one is left.
const mark = "SAMEHOST_TEST_RUN"

func TestMain(m *testing.M) {
	if script := os.Getenv("SAMEHOST_TEST_AGENT"); script != "" {
		agent(script)
	}
	value := strconv.Itoa(os.Getpid())
	_ = os.Setenv(mark, value)
	code := m.Run()
	if left := marked(value); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "processes left behind:", left)
		code = 1
	}
	os.Exit(code)
}

// marked lists living processes of this test run other than this one.
func marked(value string) (left []Process) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, err := Find(pid); err == nil && !p.Gone() && hasEnv(pid, mark+"="+value) {
			left = append(left, p)
		}
	}
	return left
}

const session = "11111111-2222-3333-4444-555555555555"

// agent is the process that the tests kill: it starts script in a process group
// that is on its list, prints its record and waits for the end of its input.
func agent(script string) {
	rec, err := startGroup(script)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(rec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

func startGroup(script string) (rec policy.SessionRecord, err error) {
	rec = policy.SessionRecord{Node: "n1@h", Session: session, State: policy.SessionLive, UID: os.Getuid(), Groups: os.Getenv("SAMEHOST_TEST_LIST")}
	self, err := Self()
	if err != nil {
		return rec, err
	}
	rec.PID, rec.StartTime = self.PID, self.StartTime
	if rec.Host, err = Host(); err != nil {
		return rec, err
	}
	list, err := CreateGroups(rec.Groups)
	if err != nil {
		return rec, err
	}
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return rec, err
	}
	leader, err := Find(cmd.Process.Pid)
	if err != nil {
		return rec, err
	}
	if strings.HasSuffix(script, "&") {
		err = cmd.Wait() // the leader is gone, not even a zombie
	}
	return rec, errors.Join(err, list.Add(Group{App: "a", PGID: leader.PID, StartTime: leader.StartTime}))
}

// life is an agent process under test, with its record and its only group.
type life struct {
	policy.SessionRecord
	cmd   *exec.Cmd
	group Group
}

func newLife(t *testing.T, script string, env ...string) *life {
	t.Helper()
	l := &life{cmd: exec.Command(os.Args[0])}
	l.cmd.Env = append(os.Environ(), "SAMEHOST_TEST_AGENT="+script, "SAMEHOST_TEST_LIST="+filepath.Join(t.TempDir(), "groups"))
	l.cmd.Env = append(l.cmd.Env, env...)
	l.cmd.Stderr = os.Stderr
	stdin, err := l.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); l.end(t) })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, &l.SessionRecord); err != nil {
		t.Fatal(err)
	}
	groups, err := ReadGroups(l.Groups)
	if err != nil || len(groups) != 1 {
		t.Fatal(groups, err)
	}
	l.group = groups[0]
	return l
}

// kill ends the agent and leaves a zombie.
func (l *life) kill(t *testing.T) {
	t.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "agent a zombie", func() bool { p, err := Find(l.PID); return err == nil && p.Gone() })
}

// end leaves nothing of the life.
func (l *life) end(t *testing.T) {
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait()
	_ = unix.Kill(-l.group.PGID, unix.SIGKILL)
	eventually(t, "group gone", func() bool { alive, err := l.group.Alive(); return !alive && err == nil })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 10 s: " + what)
		}
	}
}

func expectProof(t *testing.T, rec policy.SessionRecord, want bool) {
	t.Helper()
	if gone, err := Prove(rec); gone != want || err != nil {
		t.Errorf("Prove: %t, %v; expected %t", gone, err, want)
	}
}

func TestProofNeedsAgentAndGroupsGone(t *testing.T) {
	l := newLife(t, "exec sleep 1000")
	expectProof(t, l.SessionRecord, false)
	if n, err := KillLeftovers(l.SessionRecord, SpareNobody); n != 0 || err != nil {
		t.Errorf("KillLeftovers beside a living agent: %d, %v", n, err)
	}
	l.kill(t)
	expectProof(t, l.SessionRecord, false)
	if alive, err := l.group.Alive(); !alive || err != nil {
		t.Fatalf("group: alive %t, %v", alive, err)
	}
	if n, err := KillLeftovers(l.SessionRecord, SpareNobody); n != 1 || err != nil {
		t.Errorf("KillLeftovers: %d, %v", n, err)
	}
	eventually(t, "proof, the agent being a zombie", func() bool { gone, err := Prove(l.SessionRecord); return gone && err == nil })
	_ = l.cmd.Wait()
	expectProof(t, l.SessionRecord, true)
	if n, err := KillLeftovers(l.SessionRecord, SpareNobody); n != 0 || err != nil {
		t.Errorf("KillLeftovers with nothing left: %d, %v", n, err)
	}
}

func TestOrphansOfADeadLeaderAreKnownByTheirSession(t *testing.T) {
	l := newLife(t, "sleep 1000 &", "REGENT_SESSION="+session)
	l.kill(t)
	expectProof(t, l.SessionRecord, false)
	if n, err := KillLeftovers(l.SessionRecord, SpareNobody); n != 1 || err != nil {
		t.Errorf("KillLeftovers: %d, %v", n, err)
	}
	eventually(t, "proof", func() bool { gone, err := Prove(l.SessionRecord); return gone && err == nil })
}

func TestUnrecognizedMembersAreNeitherKilledNorGone(t *testing.T) {
	l := newLife(t, "sleep 1000 &", "REGENT_SESSION=another")
	l.kill(t)
	if n, err := KillLeftovers(l.SessionRecord, SpareNobody); n != 0 || !errors.Is(err, ErrNoProof) {
		t.Errorf("KillLeftovers: %d, %v", n, err)
	}
	expectProof(t, l.SessionRecord, false)
}

// TestFormerLifeIsEnded: whoever holds the data directory ends what is left of
// the life before, and nothing else.
func TestFormerLifeIsEnded(t *testing.T) {
	l := newLife(t, "sleep 1000 &", "REGENT_NODE=n1@h")
	l.kill(t)
	if n, err := EndFormer(l.Groups, "n2@h", time.Second); n != 0 || !errors.Is(err, ErrNoProof) {
		t.Errorf("EndFormer of another node: %d, %v", n, err)
	}
	if alive, err := l.group.Alive(); !alive || err != nil {
		t.Errorf("another node's process was ended: alive %t, %v", alive, err)
	}
	if n, err := EndFormer(l.Groups, "n1@h", 10*time.Second); n != 1 || err != nil {
		t.Errorf("EndFormer: %d, %v", n, err)
	}
	if alive, err := l.group.Alive(); alive || err != nil {
		t.Errorf("the group is alive %t, %v", alive, err)
	}
	if n, err := EndFormer(l.Groups, "n1@h", time.Second); n != 0 || err != nil {
		t.Errorf("EndFormer with nothing left: %d, %v", n, err)
	}
	if _, err := EndFormer(garbage(t), "n1@h", time.Second); !errors.Is(err, ErrNoProof) {
		t.Errorf("EndFormer by garbage: %v", err)
	}
}

func TestReusedGroupNumberIsNotTheRecordedGroup(t *testing.T) {
	l := newLife(t, "exec sleep 1000")
	old := l.group
	old.StartTime--
	if alive, err := old.Alive(); alive || err != nil {
		t.Errorf("alive %t, %v", alive, err)
	}
	if n, err := old.Kill(session); n != 0 || err != nil {
		t.Errorf("Kill: %d, %v", n, err)
	}
	if alive, err := l.group.Alive(); !alive || err != nil {
		t.Errorf("a group of the same number was hit: alive %t, %v", alive, err)
	}
}

func TestReusedAgentPidIsNotTheAgent(t *testing.T) {
	l := newLife(t, "exec sleep 1000")
	l.group.StartTime-- // as if the group had been another too
	l.StartTime--
	if err := os.WriteFile(l.Groups, []byte(header+l.group.line(lineAdd)), 0o600); err != nil {
		t.Fatal(err)
	}
	expectProof(t, l.SessionRecord, true)
	l.group.StartTime++
}

func TestNoProof(t *testing.T) {
	l := newLife(t, "exec sleep 1000")
	l.end(t)
	expectProof(t, l.SessionRecord, true)
	for name, change := range map[string]func(*policy.SessionRecord){
		"other machine":       func(r *policy.SessionRecord) { r.Host.MachineID = "x" },
		"other boot":          func(r *policy.SessionRecord) { r.Host.BootID = "x" },
		"other PID namespace": func(r *policy.SessionRecord) { r.Host.PIDNamespace++ },
		"no host":             func(r *policy.SessionRecord) { r.Host = policy.Host{} },
		"other user":          func(r *policy.SessionRecord) { r.UID++ },
		"no pid":              func(r *policy.SessionRecord) { r.PID = 0 },
		"no start time":       func(r *policy.SessionRecord) { r.StartTime = 0 },
		"no list":             func(r *policy.SessionRecord) { r.Groups = "" },
		"list missing":        func(r *policy.SessionRecord) { r.Groups += "x" },
		"list is garbage":     func(r *policy.SessionRecord) { r.Groups = garbage(t) },
		"list is a FIFO":      func(r *policy.SessionRecord) { r.Groups = fifo(t) },
	} {
		rec := l.SessionRecord
		change(&rec)
		if gone, err := Prove(rec); gone || !errors.Is(err, ErrNoProof) {
			t.Errorf("%s: Prove: %t, %v", name, gone, err)
		}
		if n, err := KillLeftovers(rec, SpareNobody); n != 0 || !errors.Is(err, ErrNoProof) {
			t.Errorf("%s: KillLeftovers: %d, %v", name, n, err)
		}
	}
}

func garbage(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "groups")
	if err := os.WriteFile(path, []byte(header+"+ 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func fifo(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "groups")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestZombieIsGone(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "exit 0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var p Process
	eventually(t, "zombie", func() (ok bool) { p, _ = Find(cmd.Process.Pid); return p.Gone() })
	if err := unix.Kill(-p.PGID, 0); err != nil {
		t.Errorf("a signal reaches a group of zombies: %v", err)
	}
	if alive, err := (Group{App: "a", PGID: p.PGID, StartTime: p.StartTime}).Alive(); !p.Gone() || alive || err != nil {
		t.Errorf("gone %t, group alive %t, %v", p.Gone(), alive, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(p.PID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Find of no process: %v", err)
	}
}

func TestHostAndSelf(t *testing.T) {
	h, err := Host()
	if err != nil || h.BootID == "" || h.PIDNamespace == 0 || strings.ContainsAny(h.MachineID+h.BootID, "\n ") {
		t.Errorf("%+v, %v", h, err)
	}
	p, err := Self()
	if err != nil || p.PID != os.Getpid() || p.StartTime == 0 || p.Gone() {
		t.Errorf("%+v, %v", p, err)
	}
}
