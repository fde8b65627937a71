package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/internal/nearest"
	"github.com/drover-io/drover/jobspecs"
)

// fieldView is a name of the job language as `explain` shows it.
type fieldView struct {
	Path     string
	In       []string // blocks that it may stand in
	Type     string
	Required bool
	Default  string   `json:",omitempty"`
	Batch    string   `json:",omitempty"` // Default in batch jobs where it differs
	Words    []string `json:",omitempty"`
	JSON     []string `json:",omitempty"`
	Status   string
	Note     string `json:",omitempty"`
	Meaning  string
	Fields   []fieldView `json:",omitempty"` // of a block
}

func newExplain(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:   "explain <name>",
		Short: "Explain a block or an attribute of the job file",
		Long: `Explain a block or an attribute of the job file: what it means, where it may stand, its type and default, and what stands in it. It is
named by its path, such as job.group.update.max_parallel, or by the end of one.`,
		Example:     "  drover explain job\n  drover explain job.group.update\n  drover explain kill_timeout",
		GroupID:     groupOther,
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			found, err := fieldsNamed(args[0])
			if err != nil {
				return err
			}
			return s.printNamed(a.out, found, found[0].Path, func(w io.Writer) error {
				for i, f := range found {
					if i > 0 {
						fmt.Fprintln(w)
					}
					if err := f.write(w); err != nil {
						return err
					}
				}
				return nil
			})
		},
		ValidArgsFunction: completeFields,
	}
	s.addFlags(cmd)
	return cmd
}

func completeFields(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, f := range jobspecs.Fields() {
		if len(args) == 0 && !f.JSONOnly() {
			out = offer(out, word, f.Path, f.Meaning)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// scopeNames are the blocks behind the letters of a field's scope.
func scopeNames(scope string) []string {
	names := map[rune]string{'F': "the file", 'J': "job", 'G': "group", 'T': "task"}
	var out []string
	for _, letter := range scope {
		if name := names[letter]; name != "" {
			out = append(out, name)
		}
	}
	return out
}

// fieldsNamed are the fields that a word means: the one whose path it is, with the blocks around it or without, or else all whose
// path ends so.
func fieldsNamed(word string) ([]fieldView, error) {
	all := jobspecs.Fields()
	parts := strings.Split(strings.Trim(strings.ToLower(word), "."), ".")
	for i := range parts {
		path := strings.Join(parts[i:], ".")
		at := slices.IndexFunc(all, func(f jobspecs.Field) bool { return f.Path == path && !f.JSONOnly() && stands(f, parts[:i], all) })
		if at >= 0 {
			return []fieldView{viewField(all, all[at])}, nil
		}
	}
	var out []fieldView
	for _, f := range all {
		if !f.JSONOnly() && strings.HasSuffix("."+f.Path, "."+strings.Join(parts, ".")) {
			out = append(out, viewField(all, f))
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	var known []string
	for _, f := range all {
		if !f.JSONOnly() {
			known = append(known, f.Path, f.Name())
		}
	}
	text := fmt.Sprintf("the job file knows no %q", word)
	near := nearest.Name(strings.Join(parts, "."), known)
	if near == "" {
		near = nearest.Name(parts[len(parts)-1], known)
	}
	if near != "" {
		text += fmt.Sprintf("; did you mean %s?", near)
	}
	return nil, fmt.Errorf("%s\n  `drover explain job` shows where to begin", text)
}

// stands reports whether a field may stand in the blocks around it: job.group.update, and not job.task.update.
func stands(f jobspecs.Field, around []string, all []jobspecs.Field) bool {
	if len(around) == 0 {
		return true
	}
	first, _, _ := strings.Cut(f.Path, ".")
	for _, top := range all {
		if top.Path == first && !slices.Contains(scopeNames(top.Scope), around[len(around)-1]) {
			return false
		}
	}
	order := []string{"job", "group", "task"}
	at := -1
	for _, name := range around {
		i := slices.Index(order, name)
		if i <= at {
			return false
		}
		at = i
	}
	return true
}

func viewField(all []jobspecs.Field, f jobspecs.Field) fieldView {
	v := viewOne(f)
	first, rest, nested := strings.Cut(f.Path, ".")
	if nested {
		v.In = []string{first}
		if i := strings.LastIndex(rest, "."); i >= 0 {
			v.In = []string{first + "." + rest[:i]}
		}
	}
	for _, inner := range all {
		if name, ok := strings.CutPrefix(inner.Path, f.Path+"."); ok && !strings.Contains(name, ".") && !inner.JSONOnly() {
			v.Fields = append(v.Fields, viewOne(inner))
		}
	}
	letter := map[string]string{"job": "J", "group": "G", "task": "T"}[f.Path]
	for _, inner := range all {
		if letter != "" && !strings.Contains(inner.Path, ".") && strings.Contains(inner.Scope, letter) && !inner.JSONOnly() {
			v.Fields = append(v.Fields, viewOne(inner))
		}
	}
	return v
}

func viewOne(f jobspecs.Field) fieldView {
	kind := string(f.Type)
	switch {
	case f.Type == jobspecs.TypeBlocks, f.Type == jobspecs.TypeLabelled:
		kind = "block, any number of them"
	case f.Min != nil && f.Max != nil:
		kind = fmt.Sprintf("%s, %d to %d", kind, *f.Min, *f.Max)
	}
	if f.Type == jobspecs.TypeLabelled {
		kind += ", with a label"
	}
	return fieldView{
		Path: f.Path, In: scopeNames(f.Scope), Type: kind, Required: f.Required, Default: f.Default, Batch: f.Batch, Words: f.Words,
		JSON: f.JSON, Status: string(f.Status), Note: f.Note, Meaning: f.Meaning,
	}
}

// words say what is to be known of a field beside its meaning.
func (f fieldView) words() string {
	parts := []string{f.Type}
	if f.Required {
		parts = append(parts, "required")
	}
	if f.Default != "" {
		parts = append(parts, "default "+f.Default)
	}
	if f.Batch != "" {
		parts = append(parts, "in batch jobs "+f.Batch)
	}
	if len(f.Words) > 0 {
		parts = append(parts, "one of "+strings.Join(f.Words, " "))
	}
	switch jobspecs.Status(f.Status) {
	case jobspecs.Warns, jobspecs.Quiet:
		parts = append(parts, "accepted, changes nothing")
	case jobspecs.Refused:
		parts = append(parts, "refused")
	}
	if f.Note != "" {
		parts = append(parts, f.Note)
	}
	return strings.Join(parts, "; ")
}

func (f fieldView) write(w io.Writer) error {
	fmt.Fprintln(w, paint(w, colorBold, f.Path))
	fmt.Fprintf(w, "  %s\n", f.Meaning)
	fmt.Fprintf(w, "  %s\n", f.words())
	if len(f.In) > 0 {
		fmt.Fprintf(w, "  stands in %s\n", joinWords(f.In))
	}
	if len(f.Fields) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, inner := range f.Fields {
		rows = append(rows, []string{"  " + inner.Path[strings.LastIndex(inner.Path, ".")+1:], inner.words(), inner.Meaning})
	}
	return table(w, "  Name|What it holds|Meaning", rows)
}
