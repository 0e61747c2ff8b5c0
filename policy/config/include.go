package config

import (
	"slices"

	"github.com/seed7529eb29/regent/policy"
)

// included reads the apps that an app brings up as parts of itself.
func (d *decoder) included(def *definition, v value) {
	items, ok := d.list(v, "a list of apps")
	if !ok {
		return
	}
	apps := []located[policy.App]{}
	for _, item := range items {
		if app, ok := d.app(item); ok {
			apps = append(apps, located[policy.App]{app, item.at})
		}
	}
	def.included = &apps
}

// include tells each app which it includes. An app is included by one at most,
// and never by itself (OTP: application(4)), so that what is told has an end.
func (d *decoder) include(c *Config, l *layer) {
	by := map[policy.App]policy.App{}
	for _, def := range l.apps {
		i := slices.IndexFunc(c.Apps, func(a App) bool { return a.Name == def.name })
		for _, part := range or(def.included, nil) {
			if d.mayInclude(c, by, def.name, part) {
				by[part.value] = def.name
				c.Apps[i].Included = append(c.Apps[i].Included, part.value)
			}
		}
	}
	for _, def := range l.apps {
		for _, part := range or(def.included, nil) {
			d.checkPart(c, by, part)
		}
	}
	for i := range c.Specs {
		c.Specs[i].StartPhases = c.Phases(c.Specs[i].App)
	}
}

func (d *decoder) mayInclude(c *Config, by map[policy.App]policy.App, app policy.App, part located[policy.App]) bool {
	_, defined := c.App(part.value)
	owner, taken := by[part.value]
	switch {
	case !defined:
		d.errorf(part.at, "write it under apps, with its start_phases", "%s is not defined", part.value)
	case taken:
		d.errorf(part.at, "an app is a part of one other at most", "%s is included by %s already", part.value, owner)
	case slices.Contains(including(by, app), part.value):
		d.errorf(part.at, "", "%s would include itself", part.value)
	default:
		return true
	}
	return false
}

// including are the apps that an app is a part of, from itself outwards.
func including(by map[policy.App]policy.App, app policy.App) []policy.App {
	all := []policy.App{app}
	for outer, ok := by[app]; ok; outer, ok = by[outer] {
		all = append(all, outer)
	}
	return all
}

// checkPart: OTP fails the start of an app with phases when a part has no key
// start_phases. Here the file says so.
func (d *decoder) checkPart(c *Config, by map[policy.App]policy.App, part located[policy.App]) {
	all := including(by, part.value)
	outermost, _ := c.App(all[len(all)-1])
	if app, ok := c.App(part.value); ok && len(all) > 1 && app.StartPhases == nil && len(outermost.StartPhases) > 0 {
		d.errorf(part.at, "an empty list will do", "%s has no start_phases, but %s, which includes it, has", part.value, outermost.Name)
	}
}

// Phases are the start phases of an app as they are called: in the order of its
// own, each followed by that of its parts which have it, and of theirs (OTP:
// application_starter). Phases that only a part has are not called.
func (c *Config) Phases(app policy.App) []policy.Phase {
	a, ok := c.App(app)
	if !ok || a.StartPhases == nil {
		return nil
	}
	phases := []policy.Phase{}
	for _, p := range a.StartPhases {
		phases = append(phases, p)
		phases = c.ofParts(phases, a, p.Name)
	}
	return phases
}

func (c *Config) ofParts(phases []policy.Phase, a *App, name string) []policy.Phase {
	for _, part := range a.Included {
		p, _ := c.App(part)
		if i := slices.IndexFunc(p.StartPhases, func(q policy.Phase) bool { return q.Name == name }); i >= 0 {
			phase := p.StartPhases[i]
			phase.Of = part
			phases = append(phases, phase)
		}
		phases = c.ofParts(phases, p, name)
	}
	return phases
}
