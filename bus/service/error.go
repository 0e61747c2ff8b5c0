package service

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/seed7529eb29/regent/manager/machine"
)

// Codes of errors, as in HTTP.
const (
	CodeBadRequest  = 400
	CodeUnknown     = 404 // app or node
	CodeRefused     = 409 // by a rule of OTP
	CodeInternal    = 500
	CodeUnavailable = 503 // no quorum, too many requests, stopping
)

// Error is an error as it crosses the wire. Control returns one to say which
// code it means, and Client returns it to its caller.
type Error struct {
	Code        int
	Description string // one line
}

func (e *Error) Error() string { return e.Description }

func badRequest(why string) *Error { return &Error{CodeBadRequest, why} }

// errorOf finds the code of an error that Control returned.
func errorOf(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if r, ok := errors.AsType[*machine.Refusal](err); ok {
		return &Error{refusalCode(r.Kind), r.Error()}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &Error{CodeUnavailable, "given up: " + err.Error()}
	}
	return &Error{CodeInternal, err.Error()}
}

func refusalCode(k machine.RefusalKind) int {
	switch k {
	case machine.RefuseNotLoaded, machine.RefuseUndefined:
		return CodeUnknown
	case machine.RefuseBadType, machine.RefuseNoVerb:
		return CodeBadRequest
	}
	return CodeRefused
}

// errorReply says an error twice: in the headers for programs, in the body for
// people who look at it with "nats request".
func errorReply(subject string, e *Error) *nats.Msg {
	description := oneLine(e.Description)
	msg := nats.NewMsg(subject)
	msg.Header.Set(micro.ErrorHeader, description)
	msg.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(e.Code))
	// A struct of numbers and text can always be encoded.
	msg.Data, _ = json.Marshal(struct {
		Schema int    `json:"schema"`
		Code   int    `json:"code"`
		Error  string `json:"error"`
	}{Schema, e.Code, description})
	return msg
}

// descriptionMax bounds what a failing program can put into a header.
const descriptionMax = 2048 // bytes

// oneLine makes a text fit for a header, which ends at the first line break.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > descriptionMax {
		s = strings.ToValidUTF8(s[:descriptionMax], "") + "…"
	}
	if s = strings.TrimSpace(s); s == "" {
		return "no reason given"
	}
	return s
}

// replyError reads an error out of a reply; nil: there is none.
func replyError(msg *nats.Msg) error {
	description := msg.Header.Get(micro.ErrorHeader)
	text := msg.Header.Get(micro.ErrorCodeHeader)
	if description == "" && text == "" {
		return nil
	}
	code, err := strconv.Atoi(text)
	if err != nil {
		code = CodeInternal
	}
	return &Error{code, oneLine(description)}
}
