package audit

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/seed7529eb29/regent/policy"
)

// checkRecords looks at the revisions of the apps' records that the bucket still
// has: their order is certain.
func (h *history) checkRecords(cells []policy.Cell) {
	cells = slices.DeleteFunc(slices.Clone(cells), func(c policy.Cell) bool { return c.Key.Kind != policy.KeyApp })
	slices.SortStableFunc(cells, func(a, b policy.Cell) int {
		return cmp.Or(cmp.Compare(a.Key.Name, b.Key.Name), cmp.Compare(a.Rev, b.Rev))
	})
	h.report.Records = len(cells)
	for i := 0; i < len(cells); {
		j := i
		for j < len(cells) && cells[j].Key.Name == cells[i].Key.Name {
			j++
		}
		h.checkRecord(cells[i:j])
		i = j
	}
}

// given is an epoch that a record gave to a claim.
type given struct {
	slot policy.Slot
	cell policy.Cell
}

// checkRecord judges the revisions of one record, oldest first.
func (h *history) checkRecord(cells []policy.Cell) {
	var last policy.Cell
	claims := map[policy.Epoch]given{}
	for _, c := range cells {
		if c.App == nil {
			h.gap(1, "revisions of records that can't be read")
			continue
		}
		if last.App != nil && c.App.High < last.App.High {
			h.findRecord(WentBack, last, c, fmt.Sprintf("the highest epoch of %s went back from %d to %d", c.App.App, last.App.High, c.App.High))
		}
		last = c
		for _, s := range [...]policy.Slot{c.App.Owner, c.App.Next} {
			if s.Epoch == 0 || s.Nonce == "" {
				continue
			}
			was, known := claims[s.Epoch]
			if known && was.slot.Nonce != s.Nonce {
				h.findRecord(DoubleOwner, was.cell, c, fmt.Sprintf("epoch %d of %s was given to %s and to %s", s.Epoch, c.App.App, by(was.slot), by(s)))
			}
			if !known || was.slot.Empty() {
				claims[s.Epoch] = given{s, c}
			}
		}
	}
}

func by(s policy.Slot) string {
	if s.Empty() {
		return "a claim that was released"
	}
	return string(s.Node)
}

func (h *history) findRecord(kind Kind, a, b policy.Cell, text string) {
	h.report.Findings = append(h.report.Findings, Finding{
		Kind: kind, App: policy.App(b.Key.Name), Text: text, Exact: true, Records: []policy.Cell{a, b},
	})
}

// checkAlarms: what nodes noticed while it happened.
func (h *history) checkAlarms() {
	for i := range h.events {
		if e := &h.events[i]; e.Type == typeDouble {
			h.find(Alarm, e.App, byClock, []*Event{e}, "%s raised the alarm: %s", cmp.Or(e.By, e.Node, "somebody"), cmp.Or(e.Detail, string(e.App)))
		}
	}
}

// summarize counts what was read and what is missing.
func (h *history) summarize() {
	r := &h.report
	r.Events, r.Lives = len(h.events), len(h.lives)
	for i, e := range h.events {
		if i == 0 {
			r.Seq[0], r.From, r.To = e.Seq, e.Time, e.Time
		}
		r.Seq[1] = e.Seq
		if e.Time.Before(r.From) {
			r.From = e.Time
		}
		if e.Time.After(r.To) {
			r.To = e.Time
		}
	}
	for _, a := range h.apps {
		if len(a.claims)+len(a.instances) > 0 {
			r.Apps++
		}
		r.Claims += len(a.claims)
		r.Instances += len(a.instances)
	}
	h.countMissing()
}

func (h *history) countMissing() {
	missing, cut := 0, 0
	for _, l := range h.lives {
		first := l.lines[0].N
		missing += int(l.missing(first, l.last()))
		switch {
		case first == 1:
		case h.opts.Middle:
			cut++
		default:
			missing += int(first - 1)
		}
	}
	h.gap(missing, "events that are missing: they were lost, or are still waiting for the store")
	h.gap(cut, "lives whose first events lie before the beginning")
	h.gap(h.mute, "events of an older version, which say too little")
	if h.opts.Middle {
		h.gap(1, "everything before the beginning: the stream was trimmed, or only a part was asked for")
	}
}
