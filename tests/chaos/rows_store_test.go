//go:build linux

package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// storeRows lose servers, data, and the store itself.
func storeRows() []row {
	return []row{
		{name: "kill-leader", short: true, what: "kill -9: a node that leads the store and runs nothing", do: func(r *run) {
			r.leaderFails(syscall.SIGKILL)
			r.stays(2 * lease.TTL)
			r.must(r.nodes[r.victim].wait(5 * time.Second))
			r.boot(r.victim)
			r.heal()
			r.rest()
		}},
		{name: "stop-leader", what: "SIGSTOP: a node that leads the store and runs nothing", do: func(r *run) {
			r.leaderFails(syscall.SIGSTOP)
			r.stays(2 * lease.TTL)
			send(syscall.SIGCONT, r.nodes[r.victim].pid()) // without an app nothing had to end it
			r.heal()
			r.rest()
		}},
		{name: "past-leader", short: true, what: "a leader of the store is cut off; who knows more writes to it", do: func(r *run) {
			leader := r.meta()
			r.led(leader, true)
			r.writesToThePast(leader)
			r.heal()
			r.rest()
		}},
		{name: "kill-owner-leader", what: "kill -9: the node, which led the store", plan: rankedPlan, do: func(r *run) {
			r.led(1, true)
			r.kills(func(m *member) []int { return []int{m.pid()} })
		}},
		{name: "rolling", what: "every node is restarted, one after the other", plan: rankedPlan, do: func(r *run) {
			_, r.old = r.owner("one")
			r.hitAt = trace.Now()
			for i := range 3 {
				r.end(i + 1)
				r.boot(i + 1)
				r.calm()
			}
			r.heal()
			r.rest(1)
		}},
		{name: "restart", what: "kill -9 of everything; the owner does not come back", plan: rankedPlan, do: func(r *run) {
			r.strike(func(*member) {
				for _, m := range r.nodes[1:] {
					m.host.powerOff()
				}
			})
			for _, m := range r.nodes[1:] {
				r.must(m.wait(5 * time.Second))
			}
			r.nodes[1].away = true
			r.boot(2)
			r.boot(3)
			r.heal()
			r.rest(2)
			r.boot(1)
			r.heal()
			r.rest(1)
		}},
		{name: "barrier", what: "the same, and a barrier waits 4 s for it", plan: plan{yaml: simply(ranked + "sync: {optional: [node1@h1, node2@h2, node3@h3], timeout: 4s}\n")}, do: func(r *run) {
			for i := range 3 {
				r.end(i + 1)
			}
			r.hitAt, r.nodes[1].away = trace.Now(), true
			r.boot(2)
			r.boot(3)
			r.heal()
			r.healed = r.healed.Add(4 * time.Second) // the barrier is no fault
			r.rest(2)
			h := r.history()
			r.faults = append(r.faults, h.Barrier(r.hitAt, r.nodes[2].born.Add(4*time.Second))...)
			r.boot(1)
			r.heal()
			r.rest(1)
		}},
		{name: "disk", what: "the disk of the store's leader is full", plan: plan{adjust: func(m *member) {
			if m.host.i == 2 {
				m.data = filepath.Join(filepath.Dir(m.data), "small")
			}
		}, before: smallDisk}, do: func(r *run) {
			r.led(2, true)
			r.strikeAt(2, func(m *member) { r.fillDisk(m) })
			time.Sleep(4 * lease.TTL)
			r.freeDisk(r.nodes[2])
			if !r.nodes[2].running() {
				r.boot(2)
			}
			r.heal()
			r.rest()
		}},
		{name: "rollback", what: "one server's data is put back to what it was", plan: rankedPlan, do: func(r *run) {
			m := r.nodes[3]
			r.end(3)
			copied := m.data + ".copy"
			r.must(exec.Command("cp", "-a", m.data, copied).Run())
			r.boot(3)
			r.calm()
			r.strike(func(m *member) { send(syscall.SIGKILL, m.pid()) }) // a new epoch that the copy does not know
			r.moves()
			r.returns()
			m.host.powerOff()
			r.must(m.wait(5 * time.Second))
			r.must(os.RemoveAll(m.data))
			r.must(os.Rename(copied, m.data))
			r.boot(3)
			r.calm()
			r.strike(func(m *member) { send(syscall.SIGKILL, m.pid()) })
			r.moves()
			r.returns()
		}},
		{name: "bucket", what: "the bucket is deleted", lossy: true, plan: rankedPlan, do: func(r *run) {
			r.strike(func(*member) { r.must(r.deleteBucket()) })
			until(r.t, "a new bucket with the app's record", func() bool {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				value, _, err := r.obs.store.ReadKey(ctx, "app.one")
				return err == nil && len(value) > 0
			})
			r.heal()
			r.rest(1)
			r.note("a new bucket with the app's record after %.2f s", r.healed.Sub(r.hitAt).Seconds())
			r.strike(func(m *member) { send(syscall.SIGKILL, m.pid()) })
			r.moves()
			r.returns()
		}},
		{name: "same-name", what: "a second node with the owner's name", plan: rankedPlan, do: func(r *run) {
			code, said := -1, ""
			r.strike(func(m *member) { code, said = r.impostor(m) })
			if code != 7 {
				r.fail("name", "the second node ended with %d and says: %s", code, said)
			}
			r.stays(2 * lease.TTL)
			r.heal()
			r.rest(1)
		}},
		{name: "clock", what: "the owner's date jumps an hour on, an hour back", plan: plan{yaml: simply(ranked), before: shiftedProgram}, do: func(r *run) {
			r.strikeAt(1, func(m *member) { r.shift(m, time.Hour) })
			time.Sleep(2 * lease.TTL)
			r.shift(r.nodes[1], 0)
			time.Sleep(2 * lease.TTL)
			r.heal()
			r.rest(1)
			h := r.history()
			r.note("starts %d", len(h.Instances))
		}},
	}
}

// leaderFails hits a node that leads the store and is not the owner.
func (r *run) leaderFails(sig syscall.Signal) {
	r.t.Helper()
	owner, _ := r.owner("one")
	leader := owner%3 + 1
	r.led(leader, true)
	r.strikeAt(leader, func(m *member) { send(sig, m.pid()) })
}

// writesToThePast cuts the leader off, which leads JetStream as well, and writes
// on without it. As long as it does not know that it leads nobody, it refuses a
// write on a revision that it has not seen, and says that it has none: for
// whoever asked that is no refusal, since nothing stands in the write's place.
func (r *run) writesToThePast(leader int) {
	r.t.Helper()
	urls := r.urls()
	past := newClient(r.t, r.net.hosts[0], urls[leader-1:leader], "past")
	defer past.close()
	present := newClient(r.t, r.net.hosts[0], urls[leader%3:leader%3+1], "present")
	defer present.close()
	r.strikeAt(leader, func(m *member) { r.must(r.net.isolate(m.host.i)) })
	const key = "past"
	var rev policy.Revision
	until(r.t, "the others write without the leader", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, last, err := present.store.ReadKey(ctx, key)
		if err != nil {
			return false
		}
		var outcome policy.Outcome
		rev, outcome, _ = present.store.CASKey(ctx, key, []byte("known"), last, uuid.NewString())
		return outcome == policy.OutcomeOK
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, outcome, err := past.store.CASKey(ctx, key, []byte("more"), rev, uuid.NewString())
	if outcome != policy.OutcomeUnknown {
		r.fail("past", "a write on revision %d, the last one, is %v where it is not known", rev, outcome)
	}
	r.note("where the revision is not known, %.1f s after the cut: %v", trace.Now().Sub(r.hitAt).Seconds(), err)
}

// end stops a node gracefully.
func (r *run) end(i int) {
	r.t.Helper()
	m := r.nodes[i]
	send(syscall.SIGTERM, m.pid())
	r.must(m.wait(patience))
	if code := m.cmd.ProcessState.ExitCode(); code != 0 {
		r.fail("exit", "%s ended with %d:\n%s", m.name, code, tail(m.log, 5))
	}
}

// smallDisk gives host 2 a file system of its own for its data.
func smallDisk(c *cluster, m *member) {
	if m.host.i != 2 {
		return
	}
	if err := os.Mkdir(m.data, 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := m.host.run("", "mount", "-t", "tmpfs", "-o", "size=256m", "chaos", m.data); err != nil {
		c.t.Fatal(err)
	}
}

// fillDisk writes until nothing fits any more; that it fails is the point.
func (r *run) fillDisk(m *member) {
	err := m.host.run("", "dd", "if=/dev/zero", "of="+filepath.Join(m.data, "fill"), "bs=4k")
	if err == nil || !strings.Contains(err.Error(), "No space left") {
		r.t.Fatalf("the disk did not fill: %v", err)
	}
}

func (r *run) freeDisk(m *member) {
	r.t.Helper()
	r.must(m.host.run("", "rm", filepath.Join(m.data, "fill")))
}

func (r *run) deleteBucket() error {
	js, err := jetstream.New(r.obs.nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = js.DeleteStream(ctx, "KV_regent_"+clusterName)
	r.obs.another()
	return err
}

// impostor is another process with a node's name, on a host that has none: with
// a directory of its own, and ports that are free there.
func (r *run) impostor(m *member) (code int, said string) {
	r.t.Helper()
	home := filepath.Join(r.dir, "impostor")
	r.must(os.MkdirAll(filepath.Join(home, "run"), 0o700))
	at := r.net.hosts[0]
	cmd := exec.Command(m.program, "node", "--sname", m.name, "--config", m.config, "--cookie-file", filepath.Join(r.dir, "cookie"),
		"--data", filepath.Join(home, "data"), "--listen", at.ip+":4222", "--cluster-listen", at.ip+":6222", "--start", "one")
	cmd.Env = append(m.env[:1:1], "HOME="+home, "XDG_STATE_HOME="+home, "XDG_RUNTIME_DIR="+filepath.Join(home, "run"))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	r.must(at.start(cmd))
	giveUp := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer giveUp.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String()
}

// shift sets the wall clock of a node's processes off.
func (r *run) shift(m *member, by time.Duration) {
	r.t.Helper()
	path := filepath.Join(filepath.Dir(m.data), "shift")
	r.must(os.WriteFile(path+".next", fmt.Appendf(nil, "%d", int64(by.Seconds())), 0o600))
	r.must(os.Rename(path+".next", path))
}
