/** What vitest's JSON report says: how many tests passed, failed and were skipped, and each failure in a line. */

/**
 * @param {string} text
 * @returns {{ passed: number, failed: number, skipped: number, failures: string[] } | undefined} `undefined` for a report
 * that was cut off.
 */
export function readReport(text) {
  const report = parsed(text);
  if (report === undefined) return undefined;
  const { testResults, numPassedTests, numPendingTests, numTodoTests } = report;
  // A file that cannot even be loaded has no failed test in it, only a failed suite.
  const unloadable = testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0);
  const tests = testResults.flatMap((file) => file.assertionResults.filter((test) => test.status === 'failed'));
  const failures = [
    ...unloadable.map(({ name, message }) => `${name}: ${firstLine(message)}`),
    ...tests.map(({ fullName, failureMessages }) => `${fullName}: ${firstLine(failureMessages[0])}`),
  ];
  return { passed: numPassedTests, failed: failures.length, skipped: numPendingTests + numTodoTests, failures };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function firstLine(text = '') {
  return text.trim().split('\n', 1)[0];
}
