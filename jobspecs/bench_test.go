package jobspecs

import (
	"encoding/json"
	"testing"
)

// BenchmarkParseJSON reads what a client of the API sends: every field written out.
func BenchmarkParseJSON(b *testing.B) {
	job, diags := Parse(Source{Data: Example()}, Inputs{})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	data, err := json.Marshal(job)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, diags := ParseJSON(data); diags.HasErrors() {
			b.Fatal(diags)
		}
	}
}
