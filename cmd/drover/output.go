package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/spf13/cobra"
)

// shape is how a command's answer is printed: for people, as JSON, or through the user's template.
type shape struct {
	json     bool
	template goTemplate
}

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

// addFlags gives a command --json and -t.
func (s *shape) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.json, "json", false, "print the answer as JSON")
	cmd.Flags().VarP(&s.template, "template", "t", "print the answer through a Go `template`, for example '{{.ID}}'")
	cmd.MarkFlagsMutuallyExclusive("json", "template")
}

// given reports whether the user asked for an answer for programs.
func (s shape) given() bool { return s.json || s.template.t != nil }

// print writes v as the flags say; people is called when they say nothing.
func (s shape) print(w io.Writer, v any, people func(io.Writer) error) error {
	switch {
	case s.json:
		if list := reflect.ValueOf(v); list.Kind() == reflect.Slice && list.IsNil() {
			v = []struct{}{} // an empty list, not null
		}
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case s.template.t != nil:
		if err := s.template.t.Execute(w, v); err != nil {
			return fmt.Errorf("apply --template: %w; --json shows the names", err)
		}
		_, err := fmt.Fprintln(w)
		return err
	}
	return people(w)
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// table prints rows in aligned columns under a header.
func table(w io.Writer, header string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if _, err := fmt.Fprintln(tw, strings.ReplaceAll(header, "|", "\t")); err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := fmt.Fprintln(tw, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// facts prints "name = value" lines, aligned.
func facts(w io.Writer, pairs ...string) error {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if _, err := fmt.Fprintf(w, "%-*s = %s\n", width, pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// shortID is how IDs are shown: their first eight characters, all of them with --verbose.
func shortID(id string, verbose bool) string {
	if verbose || len(id) <= 8 {
		return id
	}
	return id[:8]
}

// ago says how long ago a time in nanoseconds was, by the newest time that the answer knows.
func ago(ns int64, now time.Time) string {
	if ns == 0 {
		return "-"
	}
	d := now.Sub(time.Unix(0, ns))
	switch {
	case d < 0:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds ago", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm ago", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd ago", int(d.Hours())/24)
}

// when is a time in nanoseconds as people read it.
func when(ns int64) string {
	if ns == 0 {
		return "-"
	}
	return time.Unix(0, ns).Format("2006-01-02T15:04:05Z07:00")
}

// plural is a number with its noun: "1 copy", "3 copies".
func plural(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "y"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
