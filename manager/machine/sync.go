package machine

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// hasBarrier: without sync_nodes_timeout nothing is waited for (OTP rule A-8).
func (m *Machine) hasBarrier() bool { return m.cfg.Sync.Defined && !m.cfg.Hidden }

// decideSync is the barrier: it opens at once when all nodes of both lists are
// there (B-14: still there), and at the timeout without the optional ones.
func (m *Machine) decideSync() {
	if m.life != lifeSyncing {
		return
	}
	mandatory := m.absent(m.cfg.Sync.Mandatory)
	if len(mandatory)+len(m.absent(m.cfg.Sync.Optional)) == 0 {
		m.goUp()
		return
	}
	if m.cfg.Sync.Timeout == policy.Infinite || !m.passed(m.born.Add(m.syncTimeout())) {
		return
	}
	if len(mandatory) == 0 {
		m.goUp()
		return
	}
	m.exit(exitMandatory, "mandatory nodes down: "+m.describeAbsent(mandatory), "start them, or raise sync_nodes_timeout")
}

func (m *Machine) syncTimeout() time.Duration { return time.Duration(m.cfg.Sync.Timeout) }

// absent lists the nodes of a sync list that are not there. This node is; a
// hidden one never is (B-25).
func (m *Machine) absent(list []node.Name) []node.Name {
	var out []node.Name
	for _, n := range list {
		mb := m.memberOf[n]
		if n != m.cfg.Self && (mb == nil || !mb.present() || mb.beat.Hidden) {
			out = append(out, n)
		}
	}
	return out
}

func (m *Machine) describeAbsent(nodes []node.Name) string {
	var parts []string
	for _, n := range nodes {
		if mb := m.memberOf[n]; mb != nil && mb.refused {
			parts = append(parts, fmt.Sprintf("%s (refused: other cookie)", n))
			continue
		}
		parts = append(parts, string(n))
	}
	return strings.Join(parts, ", ")
}

func (m *Machine) goUp() {
	m.life = lifeUp
	m.beats.changed = true
	m.emit(History{Type: "node_up", Node: m.cfg.Self})
	for _, a := range m.apps {
		if !a.Start {
			continue
		}
		if refusal := m.undefined(a); refusal != nil {
			m.emit(History{Type: "app_start_failed", App: a.App, Node: m.cfg.Self, Detail: refusal.Error()})
			continue
		}
		m.beginStart(a, a.Type)
	}
	m.touch()
}
