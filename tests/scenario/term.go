package scenario

import (
	"fmt"
	"strings"

	"github.com/seed7529eb29/regent/manager/machine"
)

// Term is the refusal of a call as Erlang says it. Of the reason of a failed
// start only the word is left, and the node if it failed elsewhere: {error,boom}
// on the node itself, {error,{n1,boom}} on those that waited for it.
func Term(r *machine.Refusal, app, word string) string {
	atom := atoms[string(r.Kind)]
	switch {
	case r.Kind == machine.RefuseFailed:
		return "{error," + failure(r.Reason) + "}"
	case r.Kind == machine.RefuseBadType:
		return fmt.Sprintf("{error,{invalid_restart_type,%s}}", word)
	case atom == "":
		return fmt.Sprintf("{error,%q}", r.Kind)
	}
	return fmt.Sprintf("{error,{%s,%s}}", atom, app)
}

// atoms are the words of refusals in Erlang.
var atoms = map[string]string{
	"unknown app": "not_loaded", "not loaded": "not_loaded", "already started": "already_started", "not started": "not_started",
	"distribution mismatch":   "distribution_mismatch",
	"not running distributed": "not_running_distributed", "already running locally": "already_running_locally",
}

// Boom is the reason of all failing starts.
const Boom = "boom"

func failure(reason string) string {
	before, _, found := strings.Cut(reason, "@")
	switch {
	case !strings.Contains(reason, Boom):
		return fmt.Sprintf("%q", reason)
	case found:
		return fmt.Sprintf("{%s,%s}", before, Boom)
	}
	return Boom
}
