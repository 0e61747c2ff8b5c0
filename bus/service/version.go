package service

import (
	"regexp"
	"strings"
)

// semanticVersion is the grammar of semver.org that micro services insist on:
// a wrong one would keep the node from starting.
var semanticVersion = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

// numericLeadingZero: a numeric identifier of a pre-release has no leading zero.
var numericLeadingZero = regexp.MustCompile(`[-.]0\d+(\.|$)`)

// semantic turns a program's version into a semantic one.
func semantic(version string) string {
	v := strings.TrimPrefix(version, "v")
	pre, _, _ := strings.Cut(v, "+")
	if !semanticVersion.MatchString(v) || numericLeadingZero.MatchString(pre) {
		return "0.0.0"
	}
	return v
}
