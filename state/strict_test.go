package state

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// slowly is strict as encoding/json does it.
func slowly(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// TestStrictMeansWhatEncodingJSONMeans holds the fast decoder against the slow one over every kind of command, and over what neither takes.
func TestStrictMeansWhatEncodingJSONMeans(t *testing.T) {
	for _, cmd := range everyCommand() {
		body := marshal(cmd)
		fast, err := decodeBody(cmd.kind(), body)
		if err != nil {
			t.Fatalf("%s: %v", cmd.kind(), err)
		}
		if diff := cmp.Diff(cmd, fast); diff != "" {
			t.Errorf("%s: what was encoded is not what is decoded (-want +got):\n%s", cmd.kind(), diff)
		}
		if !bytes.Equal(marshal(fast), body) {
			t.Errorf("%s: encoding again gives other bytes", cmd.kind())
		}
	}
	for _, text := range []string{
		`{"Kind":"Lead","Level":1,"Body":{}}`, `{"kind":"Lead"}`, `{"Kind":"A","Kind":"B"}`, `{"Kind":null}`, `null`, `{"Body":{"a":[1,{}]}}`,
		`{"Kind":1}`, `{"Level":1.5}`, `{"Level":"1"}`, `{"Nothing":1}`, `{"Kind":"a\ud800b"}`, "{\"Kind\":\"\xff\"}", `[]`, `{`, ``,
	} {
		var fast, slow envelope
		fastErr, slowErr := strict([]byte(text), &fast), slowly([]byte(text), &slow)
		if (fastErr == nil) != (slowErr == nil) {
			t.Errorf("%s: %v, with encoding/json %v", text, fastErr, slowErr)
		}
		if slowErr != nil {
			continue
		}
		if diff := cmp.Diff(slow, fast); diff != "" {
			t.Errorf("%s (-encoding/json +strict):\n%s", text, diff)
		}
	}
	if err := strict([]byte(`{} {}`), new(envelope)); err == nil {
		t.Error("what follows a value is accepted")
	}
}

// BenchmarkDecodeRegisterJob is what every server does for every registration, before it is applied.
func BenchmarkDecodeRegisterJob(b *testing.B) {
	data, err := Encode(RegisterJob{RequestID: "request", Job: testJob("a", 1), Time: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

// TestDecodeOpensNothingElse: the short way into an envelope takes nothing that is none.
func TestDecodeOpensNothingElse(t *testing.T) {
	for text, want := range map[string]bool{ // a name that comes twice is encoding/json's to take
		`{"Kind":"Lead","Level":1,"Body":{"NodeID":"s"}}`:               true,
		`{"Kind":"Lead","Level":1,"Body": {"NodeID":"s"} }`:             true,
		`{"Level":1,"Kind":"Lead","Body":{"NodeID":"s"}}`:               true, // the long way
		`{"Kind":"Lead","Level":1,"Body":{"NodeID":"s"}}}`:              false,
		`{"Kind":"Lead","Level":1,"Body":{"NodeID":"s"},"Level":2}`:     true,
		`{"Kind":"Lead","Level":1,"Body":{"NodeID":"s"},"Kind":"Lead"}`: true,
		`{"Kind":"Lead","Level":0,"Body":{"NodeID":"s"}}`:               false,
		`{"Kind":"Lead","Level":9,"Body":{"NodeID":"s"}}`:               false,
		`{"Kind":"Lead","Level":1,"Body":}`:                             false,
		`{"Kind":"Lead","Level":1,"Body":{"Node":"s"}}`:                 false,
	} {
		cmd, err := Decode([]byte(text))
		if lead, ok := cmd.(Lead); (err == nil) != want || want && (!ok || lead.NodeID != "s") {
			t.Errorf("%s: %+v, %v", text, cmd, err)
		}
	}
}
