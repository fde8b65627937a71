package jobspecs

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/drover-io/drover/state"
)

// spot names a place in a job as state.FieldError does.
type spot struct{ group, task, field string }

// builder turns a shaped tree into a state.Job by the JSON names of the table, and remembers where everything was written.
type builder struct {
	*collector
	places map[spot]hcl.Range
}

// build returns nil after an error.
func (c *collector) build(job *node) *state.Job {
	b := &builder{collector: c, places: map[spot]hcl.Range{}}
	object := b.object(job, spot{})
	if c.hasErrors() {
		return nil
	}
	text, err := json.Marshal(object)
	if len(text) > MaxJob {
		c.errorf(job.at, "the job has %d bytes once everything is filled in; it may have %d", len(text), MaxJob)
		return nil
	}
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		var j state.Job
		if err = dec.Decode(&j); err == nil {
			if b.check(&j); c.hasErrors() {
				return nil
			}
			return &j
		}
	}
	c.errorf(job.at, "the job cannot be read: %v", err)
	return nil
}

// object returns a node as JSON, and notes the places of everything in it.
func (b *builder) object(n *node, at spot) map[string]any {
	b.places[at] = n.at
	m := map[string]any{}
	if n.LabelKey != "" && n.attrs["id"].value == nil {
		m[n.LabelKey] = n.label
	}
	for name, a := range n.attrs {
		f := n.schema.attrs[name]
		here := at.within(name)
		b.places[here] = a.at
		for key, r := range a.keys {
			b.places[here.within(key)] = r
		}
		if !a.bad && len(f.JSON) > 0 && !empty(a.value) {
			m[f.JSON[0]] = a.value
		}
	}
	for _, k := range n.kids {
		b.nest(m, k, at)
	}
	return m
}

// nest adds a block to its parent's object.
func (b *builder) nest(m map[string]any, k *node, at spot) {
	here, key := at.within(k.Name()), k.JSON[0]
	switch k.Path {
	case "group":
		here = spot{group: k.label}
	case "task":
		here = spot{group: at.group, task: k.label}
	case "network.port":
		here = at.within(k.Name()).within(k.label)
		if k.has("static") {
			key = k.JSON[1]
		}
	}
	object := b.object(k, here)
	if k.Type == TypeBlock && !k.List {
		m[key] = object
		return
	}
	list, _ := m[key].([]any)
	m[key] = append(list, object)
}

func (s spot) within(name string) spot {
	if s.field != "" {
		name = s.field + "." + name
	}
	s.field = name
	return s
}

// empty reports whether a map or a list has nothing in it; a job says nothing of those.
func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// check runs the job's own validation and points its errors at what was written.
func (b *builder) check(j *state.Job) {
	err := j.Validate()
	if err == nil {
		b.ask(j)
		return
	}
	problems := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		problems = joined.Unwrap()
	}
	for _, p := range problems {
		var f *state.FieldError
		if !errors.As(p, &f) {
			b.also(b.places[spot{}], "%v", p)
			continue
		}
		at := b.place(spot{f.Group, f.Task, f.Field})
		message := f.Problem
		if f.Field != "" {
			message = f.Field + ": " + message
		}
		b.also(at, "%s", message)
	}
}

// ask has others look at a valid job.
func (b *builder) ask(j *state.Job) {
	if b.examine == nil {
		return
	}
	problems, warnings := b.examine(j)
	for _, f := range problems {
		b.also(b.place(spot{f.Group, f.Task, f.Field}), "%s: %s", f.Field, f.Problem)
	}
	for _, f := range warnings {
		b.warnf(b.place(spot{f.Group, f.Task, f.Field}), "%s: %s", f.Field, f.Problem)
	}
}

// place finds where a field was written, or the nearest thing around it.
func (b *builder) place(s spot) hcl.Range {
	for {
		if at, ok := b.places[s]; ok {
			return at
		}
		switch i := strings.LastIndexByte(s.field, '.'); {
		case i >= 0:
			s.field = s.field[:i]
		case s.field != "":
			s.field = ""
		case s.task != "":
			s.task = ""
		case s.group != "":
			s.group = ""
		default:
			return b.places[spot{}]
		}
	}
}
