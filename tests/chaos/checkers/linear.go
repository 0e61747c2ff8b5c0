package checkers

import (
	"math"
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
	for _, op := range ops {
		end := op.Return
		if op.Outcome == trace.Unknown {
			at, ok := seen[op.New]
			if !ok {
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
		return []Violation{broken("linear", "no order of the %d compare-and-sets explains their outcomes", len(history))}
	case porcupine.Unknown:
		return []Violation{broken("linear", "the order of %d compare-and-sets was not found within %v", len(history), limit)}
	}
	return nil
}
