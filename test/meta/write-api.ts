/** `npm run api`: writes what the package's entries export to `test/meta/api`, for a look at what changed. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createApiReports } from './api-report.js';

const reports = await createApiReports();
await rm('test/meta/api', { recursive: true, force: true });
await mkdir('test/meta/api');
for (const { path, text } of reports) await writeFile(path, text);
