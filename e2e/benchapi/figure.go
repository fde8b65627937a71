package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// Senses of a bound.
const (
	atMost  = "max"
	atLeast = "min"
)

// figure is one line of the output.
type figure struct {
	name    string
	unit    string
	sense   string // atMost, atLeast; "" for information
	bound   float64
	values  []float64 // of the runs; the figure is their median
	broken  string    // why it does not hold whatever the value is
	details []detail
}

// detail is a further field of the line.
type detail struct {
	name  string
	value any
}

// add gives the line a further field.
func (f *figure) add(name string, value any) { f.details = append(f.details, detail{name, value}) }

func (f *figure) value() float64 { return median(f.values) }

func (f *figure) holds() bool {
	switch {
	case f.broken != "" || len(f.values) == 0:
		return false
	case f.sense == atMost:
		return f.value() <= f.bound
	case f.sense == atLeast:
		return f.value() >= f.bound
	}
	return true
}

// fields are the line's, in the order in which they are printed.
func (f *figure) fields() []detail {
	out := []detail{{"bench", "api"}, {"figure", f.name}, {"value", round(f.value())}, {"unit", f.unit}}
	if f.sense != "" {
		out = append(out, detail{"bound", round(f.bound)}, detail{"sense", f.sense}, detail{"holds", f.holds()})
	}
	out = append(out, detail{"runs", len(f.values)})
	if len(f.values) > 1 {
		out = append(out, detail{"values", rounded(f.values)})
	}
	if f.broken != "" {
		out = append(out, detail{"broken", f.broken})
	}
	return append(out, f.details...)
}

// line is the figure as it is printed.
func (f *figure) line() (string, error) {
	var text strings.Builder
	for i, d := range f.fields() {
		value, err := json.Marshal(d.value)
		if err != nil {
			return "", err
		}
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, "%q:%s", d.name, value)
	}
	return "BENCH {" + text.String() + "}", nil
}

// problem says why the figure does not hold, "" when it does.
func (f *figure) problem() string {
	switch {
	case f.holds():
		return ""
	case f.broken != "":
		return f.name + ": " + f.broken
	case len(f.values) == 0:
		return f.name + " was not measured"
	}
	return fmt.Sprintf("%s is %v %s, want %s %v", f.name, round(f.value()), f.unit, sign(f.sense), round(f.bound))
}

func sign(sense string) string {
	if sense == atMost {
		return "≤"
	}
	return "≥"
}

// table prints the figures for people.
func table(w io.Writer, figures []*figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range figures {
		bound, verdict := "", ""
		if f.sense != "" {
			bound, verdict = fmt.Sprintf("%s %v", sign(f.sense), round(f.bound)), "holds"
			if !f.holds() {
				verdict = "DOES NOT HOLD"
			}
		}
		if _, err := fmt.Fprintf(t, "%s\t%v %s\t%s\t%s\n", f.name, round(f.value()), f.unit, bound, verdict); err != nil {
			return err
		}
	}
	return t.Flush()
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// part is the value below which a part of them lies.
func part(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[int(p*float64(len(s)-1))]
}

// round keeps three digits behind the point, none of large numbers.
func round(v float64) float64 {
	if math.Abs(v) >= 1000 {
		return math.Round(v)
	}
	return math.Round(v*1000) / 1000
}

func rounded(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = round(v)
	}
	return out
}
