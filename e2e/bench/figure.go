package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Senses of a bound.
const (
	atMost  = "max"
	atLeast = "min"
)

// figure is one line of the output.
type figure struct {
	bench   string
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

func (f figure) value() float64 { return median(f.values) }

func (f figure) holds() bool {
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
func (f figure) fields() []detail {
	out := []detail{{"bench", f.bench}, {"value", round(f.value())}, {"unit", f.unit}}
	if f.sense != "" {
		out = append(out, detail{"bound", f.bound}, detail{"sense", f.sense})
	}
	out = append(out, detail{"runs", len(f.values)})
	if f.sense != "" {
		out = append(out, detail{"holds", f.holds()})
	}
	if len(f.values) > 1 {
		out = append(out, detail{"values", rounded(f.values)})
	}
	if f.broken != "" {
		out = append(out, detail{"broken", f.broken})
	}
	return append(out, f.details...)
}

// print writes the line, and returns an error when the bound does not hold.
func (f figure) print(w io.Writer) error {
	text := "{"
	for i, d := range f.fields() {
		value, err := json.Marshal(d.value)
		if err != nil {
			return err
		}
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf("%q:%s", d.name, value)
	}
	if _, err := fmt.Fprintln(w, "BENCH "+text+"}"); err != nil {
		return err
	}
	switch {
	case f.holds():
		return nil
	case f.broken != "":
		return fmt.Errorf("%s: %s", f.bench, f.broken)
	}
	return fmt.Errorf("%s is %v %s, want %s %v", f.bench, round(f.value()), f.unit, map[string]string{atMost: "≤", atLeast: "≥"}[f.sense], f.bound)
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

// round keeps three digits behind the point, fewer of large numbers.
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

// seconds are durations as figures have them.
func seconds(ds []time.Duration) []float64 {
	out := make([]float64, len(ds))
	for i, d := range ds {
		out[i] = d.Seconds()
	}
	return out
}

const megabyte = 1e6
