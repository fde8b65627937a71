package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.values, got, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     figure
		holds bool
	}{
		{"at most, met", figure{sense: atMost, bound: 2, values: []float64{2, 9, 1}}, true},
		{"at most, broken", figure{sense: atMost, bound: 2, values: []float64{2.1}}, false},
		{"at least, met", figure{sense: atLeast, bound: 300, values: []float64{300}}, true},
		{"at least, broken", figure{sense: atLeast, bound: 300, values: []float64{299, 299, 999}}, false},
		{"for information", figure{values: []float64{1e9}}, true},
		{"wrong whatever the value is", figure{sense: atMost, bound: 2, values: []float64{1}, broken: "not static"}, false},
		{"not measured", figure{sense: atMost, bound: 2}, false},
	} {
		if got := c.f.holds(); got != c.holds {
			t.Errorf("%s: holds is %v", c.name, got)
		}
	}
}

func TestLine(t *testing.T) {
	f := figure{bench: "x", unit: "s", sense: atMost, bound: 1, values: []float64{2, 3, 1}}
	f.add("note", "a \"quoted\" word")
	var out strings.Builder
	err := f.print(&out)
	line := out.String()
	if err == nil || !strings.Contains(err.Error(), "x is 2 s, want ≤ 1") {
		t.Errorf("error of a breach: %v", err)
	}
	text, ok := strings.CutPrefix(line, "BENCH ")
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil || !ok {
		t.Fatalf("%q: %v", line, err)
	}
	for name, want := range map[string]any{
		"bench": "x", "value": 2.0, "unit": "s", "bound": 1.0, "sense": "max", "runs": 3.0, "holds": false, "note": "a \"quoted\" word",
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	var info strings.Builder
	err = figure{bench: "y", values: []float64{1}}.print(&info)
	if err != nil || strings.Contains(info.String(), "holds") || strings.Contains(info.String(), "bound") {
		t.Errorf("a figure for information: %s, %v", info.String(), err)
	}
}

func TestStatic(t *testing.T) {
	if needs, err := dynamic("/bin/sh"); err != nil || needs == "" {
		t.Skipf("/bin/sh is not a dynamic program here: %v", err)
	}
	if _, err := dynamic("/etc/passwd"); err == nil {
		t.Error("a text file was taken for a program")
	}
}
