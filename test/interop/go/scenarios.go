package main

import "sync"

// scenarios by name: the first argument. Each file of them says what it is about.
var scenarios = map[string]func(*environment){
	"cold": cold, "pipelined": pipelined, "resumed": resumed, "early-refused": earlyRefused,
	"parallel": parallel, "called": called, "plain": plain, "compressed": compressed, "tiny-windows": tinyWindows,
	"retry": retry, "silence": silence, "refused": refused, "replayed-nonce": replayedNonce, "violation": violationOf,
	"cancel": cancel, "cancel-at-once": cancelAtOnce, "cancelled": cancelled, "held": held,
	"upload": upload, "download": download, "downloads": downloads, "both": both, "damaged": damaged, "resumed-upload": resumedUpload,
	"resumed-download": resumedDownload, "superseded": superseded, "lossy": lossy,
	"proofs": proofs, "idle": idle, "go-away": goAway, "gone-away": goneAway,
}

// together runs n of something at once, and returns the first error.
func together(n int, run func(i int) error) error {
	var wait sync.WaitGroup
	errors := make(chan error, n)
	for i := 0; i < n; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			errors <- run(i)
		}(i)
	}
	wait.Wait()
	close(errors)
	for err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}
