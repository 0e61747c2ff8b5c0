package warden

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/seed7529eb29/regent/manager/lastresort"
	"github.com/seed7529eb29/regent/manager/samehost"
	"github.com/seed7529eb29/regent/manager/warden/vigil"
)

// watch is a warden at work.
type watch struct {
	agent   *agent
	socket  net.Conn
	in      chan frame // closed when the socket has ended
	alarm   *alarm
	last    *lastresort.Timer // ends this process if it stands still
	connect Connect
	log     *slog.Logger

	vigil   vigil.Vigil[group]
	cert    Certifier
	cgroups string // the directory of the life's cgroups
}

func newWatch(pid int, connect Connect, log *slog.Logger) (*watch, error) {
	w := &watch{connect: connect, log: log, in: make(chan frame)}
	var err error
	if w.agent, err = openAgent(pid); err != nil {
		return nil, err
	}
	file := os.NewFile(fdSocket, "agent")
	if w.socket, err = net.FileConn(file); err != nil {
		return nil, fmt.Errorf("socket to the agent: %w", err)
	}
	_ = file.Close()
	if w.alarm, err = newAlarm(); err != nil {
		return nil, err
	}
	if w.last, err = lastresort.New(); err != nil {
		return nil, err
	}
	return w, nil
}

// settled is when a warden has found its way to the cluster, as a rule.
const settled = 3 * time.Second

// run returns when there is nothing left to watch or to say.
func (w *watch) run() error {
	go w.read(frames(w.socket))
	go w.alarm.ring()
	slimmed := time.AfterFunc(settled, func() {
		if err := slim(); err != nil {
			w.log.Debug("memory", "err", err)
		}
	})
	defer slimmed.Stop()
	for {
		select {
		case f, open := <-w.in:
			if !open {
				return w.avenge()
			}
			if f.Bye {
				w.acknowledge(f.Seq)
				return nil
			}
			w.take(f)
		case <-w.alarm.rung:
			if w.due() {
				return w.avenge()
			}
		}
	}
}

// read passes on what comes. What is no message of ours ends it as death does:
// there is no agent to be trusted at the other end.
func (w *watch) read(lines *bufio.Scanner) {
	defer close(w.in)
	for lines.Scan() {
		f, err := decode(lines.Bytes())
		if err != nil {
			w.log.Error("socket", "err", err)
			return
		}
		w.in <- f
	}
}

func (w *watch) take(f frame) {
	switch {
	case f.Life != nil:
		w.meet(*f.Life)
	case f.Reach != nil:
		w.renew(f.Reach)
	case f.Add != nil:
		w.vigil.Add(*f.Add)
	case f.Gone != nil:
		w.vigil.Gone(*f.Gone)
	case f.Arm != nil:
		w.arm(*f.Arm)
	case f.All:
		w.vigil.All()
	}
	w.acknowledge(f.Seq)
}

func (w *watch) meet(l Life) {
	w.vigil.Meet(vigil.Life{Node: l.Node, Agent: l.Agent, TTL: l.TTL})
	w.cgroups = l.Cgroups
	w.log = w.log.With("node", string(l.Node))
	cert, err := w.connect(l, w.log)
	if err != nil {
		w.log.Error("no way to the cluster: the end of this agent will be seen by its lease alone", "err", err)
		return
	}
	w.cert = cert
}

// renew goes by other credentials. Without them the old ones are kept: they may
// still do.
func (w *watch) renew(reach json.RawMessage) {
	if w.cert == nil {
		return
	}
	if err := w.cert.Renew(reach); err != nil {
		w.log.Error("credentials", "err", err)
	}
}

func (w *watch) arm(a arm) {
	w.vigil.Arm(a.At)
	if err := errors.Join(w.alarm.set(a.At), w.last.Arm(a.Last)); err != nil {
		w.log.Error("alarm", "err", err)
	}
}

// ackMax bounds how long an agent that does not read can hold a warden up.
const ackMax = 100 * time.Millisecond

func (w *watch) acknowledge(seq uint64) {
	text, err := encode(frame{Ack: seq})
	if err != nil {
		return // seq is never 0
	}
	_ = w.socket.SetWriteDeadline(time.Now().Add(ackMax))
	_, _ = w.socket.Write(text) // the end of the socket is noticed by read
}

// mercy is for a message that has come and was not read yet, on a busy host.
const mercy = 5 * time.Millisecond

// due reports whether the deadline has passed, what has been sent included.
func (w *watch) due() bool {
	wait := time.NewTimer(mercy)
	defer wait.Stop()
	for w.passed() {
		select {
		case f, open := <-w.in:
			if !open || f.Bye {
				return true
			}
			w.take(f)
		case <-wait.C:
			return w.passed()
		}
	}
	return false
}

func (w *watch) passed() bool { return w.vigil.Passed(samehost.Boottime()) }

// cause says why the agent ends. The kernel may have ended it at its deadline
// before this warden, on a busy host, got to do it.
func (w *watch) cause() string {
	if w.passed() {
		return "the agent's right to run apps has run out"
	}
	return "the agent is gone"
}

// avenge ends the agent and all that it has started, and says so when it is
// proved.
func (w *watch) avenge() error {
	why, begin, groups := w.cause(), time.Now(), w.vigil.Groups()
	_ = w.last.Arm(0)
	w.kill(w.vigil.Begin(samehost.Boottime()))
	if !w.vigil.Met() {
		return nil // it had not even said who it is
	}
	verdict := w.await()
	killed := time.Since(begin)
	if verdict == vigil.GiveUp {
		return errors.New("what SIGKILL does not end is still there: nothing is certified")
	}
	w.log.Warn("agent and apps are gone", "cause", why, "groups", groups, "took", killed)
	switch {
	case verdict == vigil.Unknown: // one that follows another, and the agent died before it had told everything
		return errors.New("not all that the agent had started was known: nothing is certified")
	case w.cert == nil:
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.vigil.Patience())
	defer cancel()
	if err := w.cert.Certify(ctx); err != nil {
		return fmt.Errorf("certify: %w", err)
	}
	w.log.Info("certified", "took", time.Since(begin)-killed)
	w.cert.Close()
	removeTree(w.cgroups)
	return nil
}

func (w *watch) kill(targets []vigil.Target[group]) {
	for _, t := range targets {
		if t.Agent {
			w.agent.kill()
			continue
		}
		t.Group.kill()
	}
}

// Between two looks at what was killed.
const (
	lookFirst  = 500 * time.Microsecond
	lookMax    = 20 * time.Millisecond
	alarmAfter = time.Second // SIGKILL takes milliseconds
)

// await looks until the agent and all groups are confirmed gone, or the vigil
// gives up.
func (w *watch) await() vigil.Verdict {
	w.agent.wait(w.vigil.Patience())
	pause, begin, warned := lookFirst, time.Now(), false
	for {
		targets, verdict := w.vigil.Look(samehost.Boottime(), w.agent.gone(), group.gone)
		if verdict != vigil.Wait {
			return verdict
		}
		if !warned && time.Since(begin) > alarmAfter {
			warned = true
			w.log.Error("SIGKILL does not end it", "agent gone", w.agent.gone(), "groups", w.vigil.Groups())
		}
		time.Sleep(pause)
		pause = min(2*pause, lookMax)
		w.kill(targets)
	}
}
