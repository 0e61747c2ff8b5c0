package doctor

import "fmt"

// Result of one check.
type Result string

// Results.
const (
	OK      Result = "ok"
	Warning Result = "warning"
	Failed  Result = "failed"
	Skipped Result = "skipped"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// Report is what "doctor --json" prints.
type Report struct {
	Schema int     `json:"schema"` // 1
	OK     bool    `json:"ok"`     // nothing failed
	Checks []Check `json:"checks"`
}

// NewReport sums up.
func NewReport(checks []Check) Report {
	r := Report{Schema: 1, OK: true, Checks: checks}
	for _, c := range checks {
		r.OK = r.OK && c.Result != Failed
	}
	return r
}

func ok(name, format string, args ...any) Check {
	return Check{Name: name, Result: OK, Detail: fmt.Sprintf(format, args...)}
}

func warning(name, hint, format string, args ...any) Check {
	return Check{Name: name, Result: Warning, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

func failed(name, hint, format string, args ...any) Check {
	return Check{Name: name, Result: Failed, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

func skipped(name, format string, args ...any) Check {
	return Check{Name: name, Result: Skipped, Detail: fmt.Sprintf(format, args...)}
}
