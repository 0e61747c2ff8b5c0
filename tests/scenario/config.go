package scenario

import (
	"fmt"
	"strconv"
	"strings"
)

// Config is the configuration of a node of regent, in YAML: takeovers and start types are
// those of OTP unless the scenario wants others, and nothing is restarted in
// place.
func Config(s *Scenario, n string) string {
	var b, apps, permissions strings.Builder
	b.WriteString("lease: 6s\nkv_outage: 1.3s\n")
	var specs strings.Builder
	own, denied := s.AppsOf(n)
	for _, a := range own {
		keys := "restart: {max: 0}, stop: {timeout: 20s}"
		if a.Groups != nil {
			timeout := strconv.FormatInt(a.Timeout.Milliseconds(), 10) + "ms"
			if a.Infinite {
				timeout = "infinity"
			}
			var groups []string
			for _, g := range a.Groups {
				one := strings.Join(fullNames(g), ", ")
				if len(g) > 1 {
					one = "[" + one + "]"
				}
				groups = append(groups, one)
			}
			fmt.Fprintf(&specs, "  - {app: %s, timeout: %s, nodes: [%s]}\n", a.Name, timeout, strings.Join(groups, ", "))
		}
		if a.Groups != nil || a.Unloaded {
			keys += ", takeover: " + map[bool]string{true: "exclusive", false: "overlap"}[a.Exclusive]
			keys += ", start_type: " + map[bool]string{true: "full", false: "otp"}[a.Full]
		}
		if a.Prep {
			keys += ", args: {prep: true}"
		}
		if a.Phases != nil {
			keys += ", start_phases: [" + strings.Join(a.Phases, ", ") + "]"
		}
		if a.Parts != nil {
			keys += ", included_applications: [" + strings.Join(a.Parts, ", ") + "]"
		}
		fmt.Fprintf(&apps, "  %s: {%s}\n", a.Name, keys)
	}
	for _, a := range denied {
		fmt.Fprintf(&permissions, "  %s: false\n", a)
	}
	if specs.Len() > 0 {
		b.WriteString("distributed:\n" + specs.String())
	}
	b.WriteString("apps:\n" + apps.String())
	if permissions.Len() > 0 {
		b.WriteString("permissions:\n" + permissions.String())
	}
	if bar := s.BarrierOf(n); bar != nil {
		timeout := ""
		switch {
		case bar.Infinite:
			timeout = ", timeout: infinity"
		case bar.Set:
			timeout = fmt.Sprintf(", timeout: %dms", bar.Timeout.Milliseconds())
		}
		fmt.Fprintf(&b, "sync: {mandatory: [%s], optional: [%s]%s}\n", strings.Join(fullNames(bar.Mandatory), ", "), strings.Join(fullNames(bar.Optional), ", "), timeout)
	}
	return b.String()
}

func fullNames(names []string) (all []string) {
	for _, n := range names {
		all = append(all, n+"@h")
	}
	return all
}
