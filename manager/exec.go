package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/manager/osproc"
	"github.com/seed7529eb29/regent/manager/proc"
)

// FunctionExec is a function of every node: it runs a command of the operating
// system (OTP: os:cmd/1), where the node's configuration says allow_exec.
const FunctionExec = "exec"

// ExecRequest is its argument. A list of words, or one word, is taken for the
// Command.
type ExecRequest struct {
	Command   []string `json:"command"`    // program and arguments; no shell reads them
	TimeoutMS int64    `json:"timeout_ms"` // 0: a minute; at most an hour
}

// ExecResult is its result.
type ExecResult struct {
	Status    int    `json:"status"`    // exit status; 128 and its number, if a signal ended the command
	Output    string `json:"output"`    // standard output and error, as they came
	Truncated bool   `json:"truncated"` // there was more output
}

// Limits of commands.
const (
	execTimeout    = time.Minute
	execTimeoutMax = time.Hour
	execOutputMax  = 128 << 10 // bytes; as JSON at most six times as many, which fit into one message
	execAtOnce     = 8         // commands on one node
	execWordsMax   = 128 << 10 // bytes, what Linux takes as one argument
)

// Errors of the function exec, as its caller sees them in words.
var (
	ErrExecNotAllowed = errors.New("commands are not allowed on this node: its configuration does not say allow_exec: true")
	ErrExecBusy       = fmt.Errorf("%d commands run already", execAtOnce)
	ErrExecTimeout    = errors.New("the command had not ended in time, and was killed")
)

// execFunc makes the function.
func (n *Node) execFunc() proc.Func {
	slots := make(chan struct{}, execAtOnce)
	return proc.Function(func(ctx context.Context, _ *proc.Self, r ExecRequest) (ExecResult, error) {
		if !n.opts.Config.AllowExec {
			return ExecResult{}, ErrExecNotAllowed
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			return ExecResult{}, ErrExecBusy
		}
		return n.exec(ctx, r)
	})
}

func (n *Node) exec(ctx context.Context, r ExecRequest) (ExecResult, error) {
	timeout, err := r.timeout()
	if err != nil {
		return ExecResult{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, ErrExecTimeout)
	defer cancel()
	// Not its arguments: they may be secret.
	n.log.Info("command for another node", "program", r.program())
	f, err := osproc.Once(ctx, r.Command, execOutputMax)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(r.Command) == 1 && strings.ContainsAny(r.Command[0], " \t"):
		return ExecResult{}, fmt.Errorf("%w; no shell reads it: give words of their own, or sh -c and a line", err)
	case err != nil:
		return ExecResult{}, err
	}
	return ExecResult{Status: f.Status, Output: strings.ToValidUTF8(string(f.Output), "\uFFFD"), Truncated: f.Truncated}, nil
}

func (r ExecRequest) program() string {
	if len(r.Command) == 0 {
		return ""
	}
	return r.Command[0]
}

func (r ExecRequest) timeout() (time.Duration, error) {
	size := 0
	for _, w := range r.Command {
		size += len(w)
		if strings.ContainsRune(w, 0) {
			return 0, errors.New("a word of the command has a NUL in it")
		}
	}
	switch most := execTimeoutMax.Milliseconds(); {
	case size > execWordsMax:
		return 0, fmt.Errorf("the command has %d bytes, at most %d are allowed", size, execWordsMax)
	case r.TimeoutMS < 0 || r.TimeoutMS > most:
		return 0, fmt.Errorf("timeout_ms is %d, expected 1 to %d, or 0 for %d", r.TimeoutMS, most, execTimeout.Milliseconds())
	case r.TimeoutMS > 0:
		return time.Duration(r.TimeoutMS) * time.Millisecond, nil
	}
	return execTimeout, nil
}

// UnmarshalJSON takes what rpc makes of a command line, too: the words of the
// command, of which those that are JSON are no text.
func (r *ExecRequest) UnmarshalJSON(b []byte) error {
	var words []json.RawMessage
	switch {
	case json.Unmarshal(b, &words) == nil:
	case len(b) > 0 && b[0] == '{':
		type plain ExecRequest
		return json.Unmarshal(b, (*plain)(r))
	default:
		words = []json.RawMessage{b}
	}
	for _, w := range words {
		var s string
		if json.Unmarshal(w, &s) != nil {
			s = string(w)
		}
		r.Command = append(r.Command, s)
	}
	return nil
}
