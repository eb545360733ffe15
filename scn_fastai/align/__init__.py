"""Faces in photographs: found by MTCNN, turned and scaled so that eyes and mouth lie where they always do."""
