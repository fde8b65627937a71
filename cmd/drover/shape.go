package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/drover-io/drover/internal/nearest"
)

// shape is how a command's answer is printed: for people, for programs, or through the user's template. Every command that answers
// something has one: addFlags gives it the flags, print and printList obey them.
type shape struct {
	json     bool
	format   format
	template goTemplate
}

// format is the value of --output.
type format string

// What --output may be. The zero value is the table.
const (
	formatTable format = "table"
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatName  format = "name"
)

func formats() []string {
	return []string{string(formatTable), string(formatWide), string(formatJSON), string(formatYAML), string(formatName)}
}

// Set reads the flag's value.
func (f *format) Set(text string) error {
	if !slices.Contains(formats(), text) {
		near := nearest.Name(text, formats())
		if near != "" {
			near = fmt.Sprintf("; did you mean %s?", near)
		}
		return fmt.Errorf("%q is none of %s%s", text, strings.Join(formats(), ", "), near)
	}
	*f = format(text)
	return nil
}

// String is the flag's value.
func (f *format) String() string { return string(*f) }

// Type is the word for the value in help.
func (f *format) Type() string { return "format" }

// goTemplate is the value of --template. It is read with the flags, before anything is done.
type goTemplate struct {
	text string
	t    *template.Template
}

// Set reads a template.
func (g *goTemplate) Set(text string) error {
	t, err := template.New("template").Funcs(template.FuncMap{"json": toJSON, "join": strings.Join}).Parse(text)
	if err != nil {
		return err
	}
	g.text, g.t = text, t
	return nil
}

// String is the template's text.
func (g *goTemplate) String() string { return g.text }

// Type is the word for the value in help.
func (g *goTemplate) Type() string { return "template" }

// addFlags gives a command -o, --json and -t.
func (s *shape) addFlags(cmd *cobra.Command) {
	s.addProgramFlags(cmd)
	cmd.Flags().VarP(&s.format, "output", "o", "`format` of the answer: "+strings.Join(formats(), ", ")+" (the IDs alone)")
	cmd.MarkFlagsMutuallyExclusive("json", "template", "output")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats(), cobra.ShellCompDirectiveNoFileComp))
}

// addProgramFlags gives a command --json and -t only: one whose answer is no list and no status.
func (s *shape) addProgramFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.json, "json", false, "print the answer as JSON")
	cmd.Flags().VarP(&s.template, "template", "t", "print the answer through a Go `template`, for example '{{.ID}}'")
	cmd.MarkFlagsMutuallyExclusive("json", "template")
}

// given reports whether the user asked for an answer for programs.
func (s shape) given() bool {
	return s.json || s.template.t != nil || s.format == formatJSON || s.format == formatYAML || s.format == formatName
}

// wide reports whether the user asked for every column.
func (s shape) wide() bool { return s.format == formatWide }

// print writes v as the flags say; people is called when they ask for a table. It is given a screen, by which table knows what the
// terminal can show.
func (s shape) print(w io.Writer, v any, people func(io.Writer) error) error {
	return s.printNamed(w, v, "", people)
}

// printNamed is print of something that -o name calls by a name.
func (s shape) printNamed(w io.Writer, v any, name string, people func(io.Writer) error) error {
	switch {
	case s.json || s.format == formatJSON:
		return writeJSON(w, v)
	case s.format == formatYAML:
		return writeYAML(w, v)
	case s.format == formatName && name == "":
		return fmt.Errorf("this answer has no name to print: -o json prints all of it")
	case s.format == formatName:
		_, err := fmt.Fprintln(w, name)
		return err
	case s.template.t != nil:
		if err := s.template.t.Execute(w, v); err != nil {
			return fmt.Errorf("apply --template: %w; --json shows the names", err)
		}
		_, err := fmt.Fprintln(w)
		return err
	}
	if sc, ok := w.(*screen); ok && s.wide() {
		unbounded := *sc
		unbounded.width = 0
		return people(&unbounded)
	}
	return people(w)
}

// list is a list as the user sees it: `printList(w, s, list[api.JobListItem]{…})`.
type list[T any] struct {
	items   []T
	answer  any                   // what --json prints, when that is more than the items
	empty   string                // what people are told when there are none
	name    func(T) string        // what -o name prints of one
	columns []column[T]           // of the table
	below   func(io.Writer) error // what people see under the table, nil for nothing
}

// column is one column of a list.
type column[T any] struct {
	head string
	wide bool // only shown with -o wide
	cell func(T) string
	at   func(T) int64 // instead of cell: a time, nanoseconds since the Unix epoch, shown as an age
}

// printList writes a list as the flags say.
func printList[T any](w io.Writer, s shape, l list[T]) error {
	answer := l.answer
	if answer == nil {
		answer = l.items
	}
	if s.format == formatName {
		for _, x := range l.items {
			if _, err := fmt.Fprintln(w, l.name(x)); err != nil {
				return err
			}
		}
		return nil
	}
	return s.print(w, answer, func(w io.Writer) error {
		if len(l.items) == 0 && l.empty != "" {
			_, err := fmt.Fprintln(w, l.empty)
			return err
		}
		if err := l.table(w, s.wide()); err != nil || l.below == nil {
			return err
		}
		return l.below(w)
	})
}

func (l list[T]) table(w io.Writer, wide bool) error {
	var heads []string
	for _, c := range l.columns {
		if wide || !c.wide {
			heads = append(heads, c.head)
		}
	}
	var rows [][]string
	now := time.Now()
	for _, x := range l.items {
		row := make([]string, 0, len(heads))
		for _, c := range l.columns {
			switch {
			case c.wide && !wide:
			case c.at != nil:
				row = append(row, age(w, c.at(x), now))
			default:
				row = append(row, c.cell(x))
			}
		}
		rows = append(rows, row)
	}
	return table(w, strings.Join(heads, "|"), rows)
}

func writeJSON(w io.Writer, v any) error {
	if items := reflect.ValueOf(v); items.Kind() == reflect.Slice && items.IsNil() {
		v = []struct{}{} // an empty list, not null
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeYAML writes what writeJSON writes as YAML, with the same names in the same order.
func writeYAML(w io.Writer, v any) error {
	var text strings.Builder
	if err := writeJSON(&text, v); err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text.String()), &doc); err != nil { // JSON is YAML
		return fmt.Errorf("turn the answer into YAML: %w", err)
	}
	plainStyle(&doc)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return err
	}
	return enc.Close()
}

// plainStyle takes the brackets and quotes of JSON away where YAML needs none.
func plainStyle(n *yaml.Node) {
	n.Style = 0
	if n.Tag == "!!str" && slices.Contains([]string{"y", "n", "yes", "no", "on", "off"}, strings.ToLower(n.Value)) {
		n.Style = yaml.DoubleQuotedStyle // older readers take these for true and false
	}
	if len(n.Content) == 0 && (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) {
		n.Style = yaml.FlowStyle // {} and []
	}
	for _, c := range n.Content {
		plainStyle(c)
	}
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
