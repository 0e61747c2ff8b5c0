package checkers

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// register is a cell that knows compare-and-set, told by its values, which are
// unique: revisions may come again.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		op := input.(trace.Op)
		if output.(trace.Outcome) == trace.Refused {
			return state != op.Expect, state
		}
		return state == op.Expect, op.New
	},
}

// Linear checks the history of one cell whose first value is "". An operation
// of unknown outcome whose value was seen was applied before whoever saw it
// called; one whose value nobody has seen may be left out, unless it
// explains a refusal, which a value that somebody saw does as well.
func Linear(ops []trace.Op, limit time.Duration) []Violation {
	seen := map[string]trace.Instant{}
	for _, op := range ops {
		if at, ok := seen[op.Expect]; !ok || op.Call < at {
			seen[op.Expect] = op.Call // it was read before
		}
	}
	var history []porcupine.Operation
	var left []trace.Op // that were left out
	for _, op := range ops {
		end := op.Return
		if op.Outcome == trace.Unknown {
			at, ok := seen[op.New]
			if !ok {
				left = append(left, op)
				continue
			}
			end = max(op.Call, at)
		}
		history = append(history, porcupine.Operation{
			ClientId: op.Client, Input: op, Output: op.Outcome, Call: int64(op.Call), Return: int64(min(end, math.MaxInt64)),
		})
	}
	switch porcupine.CheckOperationsTimeout(register, history, limit) {
	case porcupine.Illegal:
		return []Violation{broken("linear", "no order of the %d compare-and-sets explains their outcomes%s", len(history), stuck(history, left, limit))}
	case porcupine.Unknown:
		return []Violation{broken("linear", "the order of %d compare-and-sets was not found within %v", len(history), limit)}
	}
	return nil
}

// around is how many operations are told before and after the point at which
// no order goes on.
const around = 8

// beside is how long ago an unseen operation may have ended that is told.
const beside = 2 * time.Second

// stuck tells where the longest order ends: its last operations, those that were
// called next, of which none fits, and those beside them that nobody saw.
func stuck(history []porcupine.Operation, left []trace.Op, limit time.Duration) string {
	_, info := porcupine.CheckOperationsVerbose(register, history, limit)
	var longest []int
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	var b strings.Builder
	begin := slices.MinFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) }).Input.(trace.Op).Call
	tell := func(what string, op trace.Op) {
		fmt.Fprintf(&b, "\n  %s client %d: %q at %d -> %q %s, from %.6f to %.6f s", what, op.Client, op.Expect, op.Rev, op.New, op.Outcome,
			op.Call.Sub(begin).Seconds(), op.Return.Sub(begin).Seconds())
	}
	done := map[int]bool{}
	for _, i := range longest {
		done[i] = true
	}
	for _, i := range longest[max(0, len(longest)-around):] {
		tell("fits", history[i].Input.(trace.Op))
	}
	var rest []int
	for i := range history {
		if !done[i] {
			rest = append(rest, i)
		}
	}
	slices.SortFunc(rest, func(i, j int) int { return cmp.Compare(history[i].Call, history[j].Call) })
	rest = rest[:min(len(rest), around)]
	for _, i := range rest {
		tell("stuck", history[i].Input.(trace.Op))
	}
	for _, op := range left {
		near := func(i int) bool {
			return int64(op.Call) <= history[i].Return && int64(op.Return.Add(beside)) >= history[i].Call
		}
		if slices.ContainsFunc(rest, near) {
			tell("unseen", op)
		}
	}
	return b.String()
}
