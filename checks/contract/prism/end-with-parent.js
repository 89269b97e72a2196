// Ends Prism when its standard input is closed: also where the test was killed, and could not end it.
process.stdin.on("end", () => process.exit()).resume();
